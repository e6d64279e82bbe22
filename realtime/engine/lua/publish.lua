-- Appends a publication to its channel's history and announces it.
-- Atomic, because the offset must be given where the message is stored and announced: everybody sees one order.
-- KEYS  1 meta  2 stream  3 idempotency key
-- ARGV  1 topic  2 head of the layer message (ends with the body and the key of the epoch, two bytes)  3 body's length
--       4 history size (0: no history)  5 history ttl ms  6 meta ttl ms
--       7 fresh epoch  8 seen epoch  9 seen top  10 idempotency ttl ms (0: none)
--       11 version as decimal digits ('0': none)  12 version epoch ('': of the one that is known)
-- returns {epoch, offset, repeated}; repeated is 1 for a known key, 2 for a version that is not newer than the known one
-- The announcement carries Redis's own time in µs, so that its age can be told without a common clock of the hosts.

local idempotent = tonumber(ARGV[10]) > 0
if idempotent then
  local first = redis.call('GET', KEYS[3])
  if first then
    local offset, epoch = string.match(first, '^(%d+):(.*)$')
    return {epoch, tonumber(offset), 1}
  end
end

local function remember(epoch, offset)
  if idempotent then redis.call('SET', KEYS[3], text(offset) .. ':' .. epoch, 'PX', ARGV[10]) end
end

-- The newest version is kept in `meta`: v, and ve, its epoch. Digits are compared as text: Lua's numbers end at 2^53.
local function outdated(version, version_epoch)
  local known = redis.call('HMGET', KEYS[1], 'v', 've')
  if not known[1] or (version_epoch ~= '' and version_epoch ~= known[2]) then return false end
  return #version < #known[1] or (#version == #known[1] and version <= known[1])
end

local epoch, offset = '', 0
if tonumber(ARGV[4]) > 0 then
  epoch, offset = position(KEYS[1], KEYS[2], ARGV[7], ARGV[8], ARGV[9], ARGV[6])
  if ARGV[11] ~= '0' and outdated(ARGV[11], ARGV[12]) then
    remember(epoch, offset)
    return {epoch, offset, 2}
  end
  offset = offset + 1
  redis.call('HSET', KEYS[1], 't', text(offset))
  if offset == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end  -- else `position` has seen to it
  local body = string.sub(ARGV[2], -ARGV[3] - 2, -3)
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[4], text(offset) .. '-0', 'd', body)
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  if ARGV[11] ~= '0' then redis.call('HSET', KEYS[1], 'v', ARGV[11]) end
  if ARGV[12] ~= '' then redis.call('HSET', KEYS[1], 've', ARGV[12]) end
end
remember(epoch, offset)
local now = redis.call('TIME')
local stamp = tonumber(now[1]) * 1000000 + tonumber(now[2])
local tail = cmsgpack.pack(epoch) .. '\161o' .. cmsgpack.pack(offset) .. '\161t' .. cmsgpack.pack(stamp)
redis.call('PUBLISH', ARGV[1], ARGV[2] .. tail)
return {epoch, offset, 0}
