-- A process holds its place in the layout (which Redises there are, and in which order), asks for one, or only looks.
-- Atomic, because nobody may begin to use another layout while somebody uses this one.
-- KEYS  1 layout (hash) ids: of all Redises, in order; index: which of them this is; state: none, or what
--         `manage.py reshard` is doing: ending (who is in may end in order), held (nobody may use this Redis), open
--         (the layout is over, and the next one may begin); moved, copied: how far it is
--       2 users (sorted set): processes that use the layout, by the time until which they may, ms
--       3 waiting (sorted set): processes that may not, with what they want, by the time until which they are counted;
--         only for who comes  4… partitions, only where another layout may be begun
-- ARGV  1 process  2 ms for which it may use the layout  3 ids ('': it only looks)  4 index  5 what it wants, in words
-- returns {1 it may | 0 it may not, ids, index, how many others use what stands here, state}
--
-- A Redis without a layout lost what it had, or is new: a process that brings its ids makes it again. Another layout
-- begins when nobody uses the old one. Its names have other places then, so streams that were left behind could be taken
-- for new ones when a name comes back: unless `reshard` has cleared them away (open), all partitions begin again.

-- No key is used again after it may have been deleted: while a cluster moves the slot, it would be another node's.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PEXPIRE', KEYS[2], ARGV[2])  -- as a first write it passes where memory is full
local known = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or '0')
local was_in = known > now
local others = redis.call('ZCOUNT', KEYS[2], '(' .. string.format('%.0f', now), '+inf') - (was_in and 1 or 0)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)
local found = redis.call('HMGET', KEYS[1], 'ids', 'index', 'state')
local ids, index, state = found[1] or '', found[2] or '', found[3] or ''
local same = ids == ARGV[3] and index == ARGV[4]

local may = false
if ARGV[3] ~= '' and state ~= 'held' then
  if same then
    may = state == '' or (state == 'ending' and was_in)
  elseif ids == '' then
    may = true
  else
    may = #KEYS > 3 and others == 0 and state ~= 'ending' and ids ~= ARGV[3]  -- or one Redis is in the list twice
  end
end
local until_ms = string.format('%.0f', now + tonumber(ARGV[2]))
if not may then
  redis.call('ZREM', KEYS[2], ARGV[1], unpack(gone))
  if KEYS[3] then
    local who = ARGV[1] .. ' ' .. ARGV[5]
    local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)
    redis.call('ZADD', KEYS[3], until_ms, who)
    for _, member in ipairs(old) do
      if member ~= who then redis.call('ZREM', KEYS[3], member) end
    end
    redis.call('PEXPIRE', KEYS[3], ARGV[2])
  end
  return {0, ids, index, others, state}
end
if not same then
  if ids ~= '' and state ~= 'open' then
    for i = 4, #KEYS do redis.call('DEL', KEYS[i]) end
  end
  redis.call('HSET', KEYS[1], 'ids', ARGV[3], 'index', ARGV[4])
  redis.call('HDEL', KEYS[1], 'state', 'moved', 'copied')
  state = ''
end
redis.call('ZADD', KEYS[2], until_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
for i = #gone, 1, -1 do
  if gone[i] == ARGV[1] then table.remove(gone, i) end
end
if #gone > 0 then redis.call('ZREM', KEYS[2], unpack(gone)) end
if KEYS[3] then redis.call('ZREM', KEYS[3], ARGV[1] .. ' ' .. ARGV[5]) end
return {1, ARGV[3], ARGV[4], others, state}
