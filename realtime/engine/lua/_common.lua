-- Shared by every script of a stream. A stream is a hash `meta` (e: epoch, t: top offset, r: the Redis run that made
-- the epoch) and a Redis stream of the newest publications, whose ids are `<offset>-0`.

local EMPTY_META_TTL = 3600000  -- ms; a stream nobody has published to is kept while somebody looks at it

local function text(number)
  return string.format('%.0f', number)
end

local function run_id()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
end

local function rotate(meta, stream, fresh)
  redis.call('DEL', meta, stream)
  redis.call('HSET', meta, 'e', fresh, 't', '0', 'r', run_id())
  return fresh, 0
end

-- The stream's position. `seen_epoch`, `seen_top`: the highest position the caller knows of. A top below it means that
-- Redis came back older than it was; going on would give the same offsets to other data, so the epoch is changed.
local function position(meta, stream, fresh, seen_epoch, seen_top, meta_ttl)
  local found = redis.call('HMGET', meta, 'e', 't')
  local epoch, top = found[1], tonumber(found[2] or '0')
  if not epoch or (epoch == seen_epoch and top < tonumber(seen_top)) then
    epoch, top = rotate(meta, stream, fresh)
  end
  local ttl = tonumber(meta_ttl)
  if top == 0 and ttl > EMPTY_META_TTL then ttl = EMPTY_META_TTL end
  redis.call('PEXPIRE', meta, text(ttl))
  return epoch, top
end

