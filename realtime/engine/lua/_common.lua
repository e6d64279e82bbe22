-- Shared by every script of a stream. A stream is a hash `meta` (e: epoch, t: top offset) and a Redis stream of the
-- newest publications, whose ids are `<offset>-0`. An epoch is `<generation>.<stamp>`: the generation of the channel's
-- partition, which changes when Redis lost something (`store/lua/arrive.lua`), and the moment at which the stream was
-- made, in ms of Redis's clock as hexadecimal digits. A stream of another generation does not count any more. With `~`
-- instead of the dot an epoch is provisional (`realtime/engine/epochs.py`).

local DOUBT = 'DOUBT the instances are still comparing what they know with this run of Redis'

local function text(number)
  return string.format('%.0f', number)
end

-- The partition's generation, newest stamp and count; no generation while nobody can tell what stands here.
local function partition_of(key)
  local found = redis.call('HMGET', key, 'g', 'd', 's', 'n')
  if found[2] then return nil end
  return found[1], tonumber(found[3] or '0'), tonumber(found[4] or '0')
end

local function epoch_at(generation, kind, ms)
  return generation .. kind .. string.format('%x', ms)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The stream's epoch and top; no epoch where there is no stream of this generation.
local function stream_of(meta, generation)
  local found = redis.call('HMGET', meta, 'e', 't')
  local epoch = found[1]
  if epoch and string.sub(epoch, 1, #generation + 1) == generation .. '.' then
    return epoch, tonumber(found[2])
  end
end

-- Where a reader stands; where there is no stream, provisionally. A stream lives on while somebody looks at it.
local function position(meta, generation, newest, meta_ttl)
  local epoch, top = stream_of(meta, generation)
  if epoch then
    redis.call('PEXPIRE', meta, meta_ttl)
    return epoch, top
  end
  return epoch_at(generation, '~', math.max(now_ms(), newest)), 0
end

