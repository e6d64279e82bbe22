--[[ _maps.lua ]]
-- Sets an entry of a map, and announces it.
-- Atomic, because the change must be in the stream where the entry is in the map, and limits must hold.
-- KEYS  the map's (`_maps.lua`), then a hash that must have the client (only where there is one)
-- ARGV  1 about the map  2 channel  3 key  4 body  5 client ('': the server)  6 user  7 how long it stays, ms (0: for ever)
--       8 whether it leaves with its client (0, 1)  9 most keys  10 most bytes  11 most entries of one client that leave
--       12 whose entries this one may replace ('': anybody's, 'user', 'client': its own)
--       13 '', 'if_new' or 'if_exists'
-- returns {1, epoch, offset, count of the partition}, or {0 not done for `if_…`, -1 another's, -2 too many keys,
-- -3 too many bytes, -4 too many of the client, -5 the client is not there, then the same}, or the error DOUBT

local map = map_of(KEYS, 1, ARGV[1], ARGV[2])
if not map then return redis.error_reply(DOUBT) end
map_end(map, MOST_ENDED, true)
local key, body, client, user = ARGV[3], ARGV[4], ARGV[5], ARGV[6]

local function answer(code)
  if not map.epoch then
    map.epoch, map.offset = position(map.meta, map.partition, map.made, map.generation, map.era, map.meta_ttl,
      map.mark, map.other)
  end
  return {code, map.epoch, map.offset, map.counted}
end

local present = KEYS[MAP_KEYS + 1]
if present and redis.call('HEXISTS', present, client) == 0 then return answer(-5) end
local value = redis.call('HGET', map.state, key)
local old = value and map_entry(value)
if (ARGV[13] == 'if_new' and old) or (ARGV[13] == 'if_exists' and not old) then return answer(0) end
if old and not map_may(old, ARGV[12], client, user) then return answer(-1) end
if not old and redis.call('HLEN', map.state) >= tonumber(ARGV[9]) then return answer(-2) end
local before = old and #key + #old.body or 0
local bytes = tonumber(redis.call('HGET', map.bytes, 'b') or '0')
if #key + #body > before and bytes - before + #key + #body > tonumber(ARGV[10]) then return answer(-3) end
local leaves = ARGV[8] == '1' and client ~= ''
if leaves and not (old and old.client == client)
  and #redis.call('ZRANGE', map.owners, '[' .. client .. '\n', '(' .. client .. '\011', 'BYLEX') >= tonumber(ARGV[11])
then
  return answer(-4)
end
local ends = tonumber(ARGV[7])
map_set(map, key, body, client, user, ends > 0 and now_ms() + ends or 0, leaves)
return answer(1)
