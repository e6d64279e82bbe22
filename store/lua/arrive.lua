-- A process comes to a partition over a new connection, or asks again: is what stands here what it was?
-- Atomic, because one answer decides for everybody, and a publication in between would blur what was compared.
-- KEYS  1 partition (hash) g: generation, n: publications counted, s: newest stamp of a stream, r: the run of Redis that
--         is trusted, b: the count when that run began, d: another run that is in doubt, m: count left by a cluster
--         that ended in order
--       2 votes (hash) of those who compared: 1, of those expected to: 0; `#until`: ms of Redis's clock
-- ARGV  1 this run of Redis  2 a fresh generation  3-5 what the process knows: generation ('': nothing), count, and the
--         run it was heard in  6 its name as an instance ('': it is none)  7 how long votes are waited for, ms
--       8 '1' when this Redis is known to keep whatever it answered  9… instances that the process knows to live
-- returns {generation, count, 1 while in doubt}
--
-- A run of Redis begins with what was saved, which may be older than what was answered. It is trusted when every
-- instance that was there has compared its count with the stored one. Where less is stored than one has heard, or not
-- everybody came in time, the generation changes, and with it the epoch of every stream of the partition: no offset is
-- then given out twice in an epoch, and nobody's position is believed that may mean something else by now.
--
-- Redis looks whether its memory is full at a script's first write alone, and lets pass one that cannot grow (HDEL, DEL,
-- PEXPIRE). Each way begins with such a one here: without this answer nobody could even read.

local run, fresh, known_generation, known_run, me = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[6]
local heard = tonumber(ARGV[4])
local found = redis.call('HMGET', KEYS[1], 'g', 'n', 'r', 'b', 'd', 'm')
local generation, count, trusted, base = found[1], tonumber(found[2] or '0'), found[3], tonumber(found[4] or '0')
local doubted, mark = found[5], found[6]

local function trust(under)
  redis.call('HDEL', KEYS[1], 'd', 'm')
  redis.call('HSET', KEYS[1], 'g', under, 'n', string.format('%.0f', count), 'r', run, 'b', string.format('%.0f', count))
  redis.call('DEL', KEYS[2])
  return {under, count, 0}
end

if not generation then return trust(fresh) end
local witness = known_generation == generation

-- A run that comes back after another was in doubt (a slot moved there and back, a failover was reverted) may have taken
-- over what that one had: it is compared anew.
if trusted == run and not doubted then
  if mark and me ~= '' then redis.call('HDEL', KEYS[1], 'm') end
  local lost = witness and (heard > count or (known_run ~= run and heard > base and ARGV[8] ~= '1'))
  if lost then return trust(fresh) end
  return {generation, count, 0}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if doubted ~= run then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'd', run)
  redis.call('HSET', KEYS[2], '#until', string.format('%.0f', now + tonumber(ARGV[7])))
  redis.call('PEXPIRE', KEYS[2], 60000)
end
if known_generation ~= '' and (not witness or heard > count) then return trust(fresh) end
if ARGV[8] == '1' or (mark and tonumber(mark) == count) then return trust(generation) end
if witness and me ~= '' then
  redis.call('PEXPIRE', KEYS[2], 60000)
  redis.call('HSET', KEYS[2], me, '1')
  for i = 9, #ARGV do redis.call('HSETNX', KEYS[2], ARGV[i], '0') end
end
local votes, missing, until_ms = 0, 0, 0
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  if flat[i] == '#until' then
    until_ms = tonumber(flat[i + 1])
  elseif flat[i + 1] == '1' then
    votes = votes + 1
  else
    missing = missing + 1
  end
end
if until_ms > 0 and votes > 0 and missing == 0 then return trust(generation) end  -- 0: who was expected is forgotten
if now >= until_ms then return trust(fresh) end
return {generation, count, 1}
