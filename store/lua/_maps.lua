-- Maps: entries by key beside a channel's stream, which is told of every change. Behind `_streams.lua`, for the scripts
-- that change maps: those of the engine, and those of presence, whose joins and leaves are changes of maps.
--
-- An entry is `<offset> <epoch> <end ms, 0: none> <client> <bytes of user> LF user body`: the stream's position at which
-- it was set, when it ends, and who set it. Its keys: `state` (hash: key -> entry), `index` (sorted set of the keys, in
-- their order), `ends` (sorted set: key -> when it ends), `owners` (sorted set of `<client> LF <key>`, of entries that
-- leave with who set them), `bytes` (hash: b, of keys and bodies together), and `due`, one for all maps of the partition (sorted
-- set: channel -> when its next entry ends).
local MAP_KEYS = 10 -- meta, stream, partition, made, and these six
local MOST_ENDED = 100 -- entries that a script takes out beside its own work

--[[ _announce.lua ]]
--[[ _bin.lua ]]

local function map_text(text)
  return '"' .. string.gsub(text, '[%c"\\]', function(one)
    return string.format('\\u%04x', string.byte(one))
  end) .. '"'
end

local function map_entry(value)
  local offset, epoch, ends, client, size, at = string.match(value, '^(%d+) (%S*) (%d+) (%S*) (%d+)\n()')
  local body = at + tonumber(size)
  return {
    offset = offset, epoch = epoch, ends = tonumber(ends), client = client,
    user = string.sub(value, at, body - 1), body = string.sub(value, body),
  }
end

-- A map, by its MAP_KEYS keys from `at` on. `about`: history size, history ttl ms, meta ttl ms, two bits of `made`, the
-- length of the topic, LF, then topic, and the head of an announcement. Returns nil while the partition is in doubt.
local function map_of(keys, at, about, channel)
  local size, ttl, meta_ttl, mark, other, length, from = string.match(about, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)\n()')
  local head = from + tonumber(length)
  local map = {
    meta = keys[at], stream = keys[at + 1], partition = keys[at + 2], made = keys[at + 3], state = keys[at + 4],
    index = keys[at + 5], ends = keys[at + 6], owners = keys[at + 7], bytes = keys[at + 8], due = keys[at + 9],
    size = size, ttl = ttl, meta_ttl = meta_ttl, mark = mark, other = other,
    topic = string.sub(about, from, head - 1), head = string.sub(about, head), channel = channel,
  }
  map.generation, map.era, map.counted, map.ended = partition_of(map.partition)
  return map.generation and map
end

-- Append a change to the map's stream and announce it. As in publish.lua, the first write is one that a full Redis
-- refuses.
local function map_append(map, body)
  local epoch, top = stream_of(map.meta, map.generation)
  map.counted = redis.call('HINCRBY', map.partition, 'n', 1)
  if map.ended then redis.call('HSET', map.partition, 'm', map.counted) end
  if not epoch then
    map.era = era_for(map.partition, map.made, map.era, map.meta_ttl, map.mark, map.other)
    epoch, top = epoch_of(map.generation, map.era), 0
    redis.call('SETBIT', map.made, map.mark, 1)
    redis.call('SETBIT', map.made, map.other, 1)
    redis.call('DEL', map.meta, map.stream)
    redis.call('HSET', map.meta, 'e', epoch)
  end
  local offset, time = top + 1, redis.call('TIME')
  redis.call('XADD', map.stream, 'MAXLEN', '~', map.size, text(offset), 'd', body)
  redis.call('HSET', map.meta, 't', text(offset))
  redis.call('PEXPIRE', map.meta, map.meta_ttl)
  redis.call('PEXPIRE', map.stream, map.ttl)
  announce(map.topic, map.head .. bin(body)
    .. cmsgpack.pack('e', epoch, 'o', offset, 't', time[1] * 1000000 + time[2], 'n', map.counted))
  map.epoch, map.offset = epoch, offset
end

local function map_count(map, change)
  if redis.call('HINCRBY', map.bytes, 'b', text(change)) <= 0 then redis.call('DEL', map.bytes) end
end

-- When the channel is to be looked at next.
local function map_plan(map)
  local first = redis.call('ZRANGE', map.ends, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', map.due, first[2], map.channel)
  else
    redis.call('ZREM', map.due, map.channel)
  end
end

-- Take an entry out, and tell of it. False where there is none.
local function map_remove(map, key)
  local value = redis.call('HGET', map.state, key)
  if not value then return false end
  local old = map_entry(value)
  redis.call('HDEL', map.state, key) -- first: it passes where memory is full
  redis.call('ZREM', map.index, key)
  if old.ends > 0 then
    redis.call('ZREM', map.ends, key)
    map_plan(map)
  end
  if old.client ~= '' then redis.call('ZREM', map.owners, old.client .. '\n' .. key) end
  map_count(map, -(#key + #old.body))
  map_append(map, '{"key":' .. map_text(key) .. ',"removed":true}')
  return true
end

-- Set an entry, and tell of it. `ends`: in ms of Redis's clock, 0: never. `leaves`: with the client that set it.
local function map_set(map, key, body, client, user, ends, leaves)
  local value = redis.call('HGET', map.state, key)
  local old = value and map_entry(value)
  map_append(map, body)
  redis.call('HSET', map.state, key, text(map.offset) .. ' ' .. map.epoch .. ' ' .. text(ends) .. ' ' .. client .. ' '
    .. #user .. '\n' .. user .. body)
  if not old then redis.call('ZADD', map.index, 0, key) end
  map_count(map, #body - (old and #old.body or -#key))
  if ends > 0 then redis.call('ZADD', map.ends, text(ends), key) end
  if old and old.ends > 0 and ends == 0 then redis.call('ZREM', map.ends, key) end
  if ends > 0 or (old and old.ends > 0) then map_plan(map) end
  if old and old.client ~= '' and old.client ~= client then
    redis.call('ZREM', map.owners, old.client .. '\n' .. key)
  end
  if leaves then redis.call('ZADD', map.owners, 0, client .. '\n' .. key) end
end

-- Take out entries that have ended, `most` of them, each with its removal. Returns how many they were. `adds`: the script
-- goes on to what a full Redis shall refuse, so it asks before the first removal, which passes and lets pass all behind it.
local function map_end(map, most, adds)
  local ended = redis.call('ZRANGEBYSCORE', map.ends, '-inf', text(now_ms()), 'LIMIT', 0, most)
  if adds and #ended > 0 then redis.call('HSETNX', map.partition, 'g', map.generation) end
  for _, key in ipairs(ended) do
    if not map_remove(map, key) then redis.call('ZREM', map.ends, key) end
  end
  return #ended
end

-- Whether an entry is one that `whose` lets a client of a user change: '' anybody's, 'user', 'client'. The server ('')
-- may change all.
local function map_may(entry, whose, client, user)
  if whose == '' or client == '' then return true end
  if whose == 'user' and user ~= '' then return entry.user == user end
  return entry.client == client
end

-- Take out all that a client set and that leaves with it.
local function map_leave(map, client)
  local owned = redis.call('ZRANGE', map.owners, '[' .. client .. '\n', '(' .. client .. '\011', 'BYLEX')
  for _, owner in ipairs(owned) do
    map_remove(map, string.sub(owner, #client + 2))
    redis.call('ZREM', map.owners, owner)
  end
end

