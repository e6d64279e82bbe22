-- Shared by every script of a stream. A stream is a hash `meta` (e: epoch, t: top offset) and a Redis stream of the
-- newest publications, whose ids are `<offset>-0`. An epoch is `<generation>.<era>`, from the channel's partition:
-- the generation changes when Redis lost something (`store/lua/arrive.lua`); the era is a moment, in ms of Redis's clock
-- as hexadecimal digits, and another before a stream that went (expired, or evicted) could be made again in it. So no
-- epoch ever names two streams of a channel, and nothing has to be kept of those that are gone: `made` is a bitmap of
-- 16 KB at most that says which channels may have had a stream in this era.

local DOUBT = 'DOUBT the instances are still comparing what they know with this run of Redis'

local function text(number)
  return string.format('%.0f', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The partition's generation, era, count, and whether the cluster has ended in order; no generation while it is not known
-- whether Redis has lost something.
local function partition_of(key)
  local found = redis.call('HMGET', key, 'g', 'd', 's', 'n', 'm')
  if found[2] then return nil end
  return found[1], tonumber(found[3] or '0'), tonumber(found[4] or '0'), found[5]
end

-- The stream's epoch and top; no epoch where there is no stream of this generation.
local function stream_of(meta, generation)
  local found = redis.call('HMGET', meta, 'e', 't')
  local epoch = found[1]
  if epoch and string.sub(epoch, 1, #generation + 1) == generation .. '.' then
    return epoch, tonumber(found[2])
  end
end

local function new_era(partition, made, era)
  era = math.max(now_ms(), era + 1)
  redis.call('DEL', made)  -- before the HSET: as a first write it passes where memory is full, and readers go on
  redis.call('HSET', partition, 's', text(era))
  return era
end

-- The era for a stream that a channel has not got, and that lives for `meta_ttl` ms. It began so lately that none of the
-- channel's streams can have expired in it, and `made` has not both of the channel's bits.
local function era_for(partition, made, era, meta_ttl, mark, other)
  local age = now_ms() - era
  local fresh = age >= 0 and age * 2 < tonumber(meta_ttl)
  if fresh and redis.call('GETBIT', made, mark) + redis.call('GETBIT', made, other) < 2 then return era end
  return new_era(partition, made, era)
end

local function epoch_of(generation, era)
  return generation .. '.' .. string.format('%x', era)
end

-- The stream's position, for a reader; where there is no stream, the beginning of the one that is made next. Reading
-- renews a stream's TTL.
local function position(meta, partition, made, generation, era, meta_ttl, mark, other)
  local epoch, top = stream_of(meta, generation)
  if epoch then
    redis.call('PEXPIRE', meta, meta_ttl)
    return epoch, top
  end
  return epoch_of(generation, era_for(partition, made, era, meta_ttl, mark, other)), 0
end

