-- Appends a publication to its channel's history and announces it.
-- Atomic, because the offset must be given where the message is stored and announced: everybody sees one order.
-- KEYS  1 meta  2 stream  3 idempotency key  4 partition  5 made
-- ARGV  1 topic  2 head of the layer message (ends with the body and the key of the epoch, two bytes)  3 body's length
--       4 history size (0: no history)  5 history ttl ms  6 meta ttl ms  7 idempotency ttl ms (0: none)
--       8-9 two bits of `made`, by a hash of the channel
--       10 version as decimal digits ('0': none)  11 version epoch ('': of the one that is known)
-- returns {epoch, offset, repeated, count of the partition}, or the error DOUBT; repeated is 1 for a known key, 2 for a
-- version that is not newer than the known one
-- The announcement carries Redis's own time in µs, so that its age can be told without a common clock of the hosts, and
-- the partition's count, so that whoever hears it knows how far Redis has come.

local kept = tonumber(ARGV[4]) > 0
local generation, era, _, ended
if kept then
  generation, era, _, ended = partition_of(KEYS[4])
  if not generation then return redis.error_reply(DOUBT) end
end

local idempotent = tonumber(ARGV[7]) > 0
if idempotent then
  local first = redis.call('GET', KEYS[3])
  if first then
    local offset, epoch = string.match(first, '^(%d+):(.*)$')
    -- what was published in another generation is not in history any more
    if epoch == '' or (kept and string.sub(epoch, 1, #generation + 1) == generation .. '.') then
      return {epoch, tonumber(offset), 1, 0}
    end
  end
end

local function remember(epoch, offset)
  if idempotent then redis.call('SET', KEYS[3], text(offset) .. ':' .. epoch, 'PX', ARGV[7]) end
end

-- The newest version is kept in `meta`: v, and ve, its epoch. Digits are compared as text: Lua's numbers end at 2^53.
local function outdated(version, version_epoch)
  local known = redis.call('HMGET', KEYS[1], 'v', 've')
  if not known[1] or (version_epoch ~= '' and version_epoch ~= known[2]) then return false end
  return #version < #known[1] or (#version == #known[1] and version <= known[1])
end

local function begin()
  era = era_for(KEYS[4], KEYS[5], era, ARGV[6], ARGV[8], ARGV[9])
  redis.call('SETBIT', KEYS[5], ARGV[8], 1)
  redis.call('SETBIT', KEYS[5], ARGV[9], 1)
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'e', epoch_of(generation, era), 't', '0')
  return epoch_of(generation, era), 0
end

local epoch, offset, count = '', 0, 0
if kept then
  epoch, offset = stream_of(KEYS[1], generation)
  if epoch and ARGV[10] ~= '0' and outdated(ARGV[10], ARGV[11]) then
    remember(epoch, offset)
    return {epoch, offset, 2, 0}
  end
  count = redis.call('HINCRBY', KEYS[4], 'n', 1)  -- the first write is one that a full Redis refuses
  if ended then redis.call('HSET', KEYS[4], 'm', text(count)) end  -- by a worker, or one that is still closing
  if not epoch then epoch, offset = begin() end
  offset = offset + 1
  local body = string.sub(ARGV[2], -ARGV[3] - 2, -3)
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], text(offset) .. '-0', 'd', body)
  redis.call('HSET', KEYS[1], 't', text(offset))
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  if ARGV[10] ~= '0' then redis.call('HSET', KEYS[1], 'v', ARGV[10]) end
  if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 've', ARGV[11]) end
end
remember(epoch, offset)
local now = redis.call('TIME')
local stamp = tonumber(now[1]) * 1000000 + tonumber(now[2])
local tail = cmsgpack.pack(epoch) .. '\161o' .. cmsgpack.pack(offset) .. '\161t' .. cmsgpack.pack(stamp)
redis.call('PUBLISH', ARGV[1], ARGV[2] .. tail .. '\161n' .. cmsgpack.pack(count))
return {epoch, offset, 0, count}
