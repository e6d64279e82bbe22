-- Appends a publication to its channel's history and announces it.
-- Atomic, because the offset must be given where the message is stored and announced: everybody sees one order.
-- KEYS  1 meta  2 stream  3 partition  4 made  5 idempotency key (only where there is one), or of a row of the outbox the
--       hash that stands for `meta` where nothing is kept
-- ARGV  1 topic  2 head of the layer message, up to the body  3 body
--       4 history size ('0': no history)
--       5 what is seldom looked at: history ttl ms, meta ttl ms, two bits of `made` by a hash of the channel
--       6 idempotency ttl ms  7 version as decimal digits ('0': none)  8 version epoch ('': of the one that is known);
--       6-8 only where there is a key or a version, or for a row of the outbox
--       9 source  10 position  11 after, the position of the row before it  12 that row's generation ('': of any)
--       9-12 only for a row of the outbox; then 6 is the ttl of KEYS[5], and there is no idempotency key
-- returns {epoch, offset, repeated, count of the partition}, or the error DOUBT; repeated is 1 for a known key, 2 for a
-- version that is not newer than the known one. For a row of the outbox: 1 when this row or one behind it is there (offset
-- 0), 3 when the row before it is not: then {epoch, or the generation where there is no stream, position of the last row
-- that is there, 3, 0}; nothing is appended
-- The last row's position is kept in `meta`: b:<source>. So it goes with the stream, and one that Redis lost is missed.
-- The announcement carries Redis's own time in µs, so that its age can be told without a common clock of the hosts, and
-- the partition's count, so that whoever hears it knows how far Redis has come.
-- It runs for every publication, so whatever most of them do not need is behind a condition, the shared functions too.
-- The TTLs are renewed once a second at most (r in `meta`: when it is time, in ms), or in an eighth of the TTL if that is
-- less, and are longer by as much. A stream has up to one node of publications more than its size (4 KB, by Redis's
-- defaults), because to trim whole nodes costs half: who reads it leaves those out.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local epoch, offset, count = '', 0, 0
local generation, ended

local kept = ARGV[4] ~= '0'
if kept then
  local partition = redis.call('HMGET', KEYS[3], 'g', 'd', 'm')
  if partition[2] or not partition[1] then
    --[[ _common.lua ]]
    return redis.error_reply(DOUBT)
  end
  generation, ended = partition[1], partition[3]
end

local once, last = KEYS[5], nil  -- last: the field with the position of the last row of the outbox
if ARGV[10] then
  local position, after, expected = tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[12]
  once, last = nil, 'b:' .. ARGV[9]
  local known = redis.call('HMGET', kept and KEYS[1] or KEYS[5], last, 'e')
  local current = kept and known[2] or ''
  if kept and string.find(current, generation .. '.', 1, true) ~= 1 then current, known[1] = generation, '0' end
  local b = tonumber(known[1] or '0')
  if position <= b then return {current, 0, 1, 0} end
  if b < after or (kept and expected ~= '' and expected ~= generation) then return {current, b, 3, 0} end
end

if once then
  local first = redis.call('GET', once)
  if first then
    local offset_then, epoch_then = string.match(first, '^(%d+):(.*)$')
    -- what was published in another generation is not in history any more
    if epoch_then == '' or (kept and string.sub(epoch_then, 1, #generation + 1) == generation .. '.') then
      return {epoch_then, tonumber(offset_then), 1, 0}
    end
  end
end

if kept then
  local stream = redis.call('HMGET', KEYS[1], 'e', 't', 'r')
  local renewal = stream[3]
  epoch, offset = stream[1], stream[2]
  if epoch and string.find(epoch, generation .. '.', 1, true) ~= 1 then epoch = false end  -- of another generation

  -- The newest version is kept in `meta`: v, and ve, its epoch. Digits are compared as text: Lua's numbers end at 2^53.
  local version, version_epoch = ARGV[7], ARGV[8]
  if version == '0' then version = nil end
  if epoch and version then
    local known = redis.call('HMGET', KEYS[1], 'v', 've')
    if known[1] and (version_epoch == '' or version_epoch == known[2])
      and (#version < #known[1] or (#version == #known[1] and version <= known[1])) then
      if once then redis.call('SET', once, offset .. ':' .. epoch, 'PX', ARGV[6]) end
      if last then redis.call('HSET', KEYS[1], last, ARGV[10]) end
      return {epoch, tonumber(offset), 2, 0}
    end
  end

  count = redis.call('HINCRBY', KEYS[3], 'n', 1)  -- the first write is one that a full Redis refuses
  if ended then redis.call('HSET', KEYS[3], 'm', count) end  -- by a worker, or one that is still closing
  if not epoch then
    --[[ _common.lua ]]
    local era = tonumber(redis.call('HGET', KEYS[3], 's') or '0')
    local meta_ttl, mark, other = string.match(ARGV[5], '^%d+ (%d+) (%d+) (%d+)$')
    epoch, offset = epoch_of(generation, era_for(KEYS[3], KEYS[4], era, meta_ttl, mark, other)), 0
    redis.call('SETBIT', KEYS[4], mark, 1)
    redis.call('SETBIT', KEYS[4], other, 1)
    redis.call('DEL', KEYS[1], KEYS[2])
    redis.call('HSET', KEYS[1], 'e', epoch)
    renewal = nil
  end
  offset = offset + 1
  if not redis.call('XADD', KEYS[2], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[4], offset, 'd', ARGV[3]) then
    redis.call('XADD', KEYS[2], offset, 'd', ARGV[3])
    renewal = nil
  end
  redis.call('HSET', KEYS[1], 't', offset)
  if last then redis.call('HSET', KEYS[1], last, ARGV[10]) end

  local left = renewal and renewal - now / 1000 or 0
  if left <= 0 or left > 1000 then  -- above: the clock was put back
    local ttl, meta_ttl = string.match(ARGV[5], '^(%d+) (%d+) ')
    local grace = math.floor(math.min(1000, ttl / 8, meta_ttl / 8))
    redis.call('HSET', KEYS[1], 'r', math.floor(now / 1000) + grace)
    redis.call('PEXPIRE', KEYS[1], meta_ttl + grace)
    redis.call('PEXPIRE', KEYS[2], ttl + grace)
  end
  if version then
    redis.call('HSET', KEYS[1], 'v', version)
    if version_epoch ~= '' then redis.call('HSET', KEYS[1], 've', version_epoch) end
  end
elseif last then
  redis.call('HSET', KEYS[5], last, ARGV[10])
  redis.call('PEXPIRE', KEYS[5], ARGV[6])
end
if once then redis.call('SET', once, string.format('%.0f:%s', offset, epoch), 'PX', ARGV[6]) end
--[[ _announce.lua ]]
announce(ARGV[1],
  ARGV[2] .. ARGV[3] .. cmsgpack.pack('e', epoch, 'o', offset, 't', now, 'n', count))
return {epoch, offset, 0, count}
