--[[ _maps.lua ]]
-- Takes an entry out of a map, and announces it.
-- Atomic, as in map_set.lua.
-- KEYS  the map's (`_maps.lua`)
-- ARGV  1 about the map  2 channel  3 key  4 client ('': the server)  5 user
--       6 whose entries this one may take out ('': anybody's, 'user', 'client': its own)
-- returns {1 | 0 there is none | -1 another's, epoch, offset, count of the partition}, or the error DOUBT

local map = map_of(KEYS, 1, ARGV[1], ARGV[2])
if not map then return redis.error_reply(DOUBT) end
map_end(map, MOST_ENDED)
local value, code = redis.call('HGET', map.state, ARGV[3]), 0
if value then
  code = map_may(map_entry(value), ARGV[6], ARGV[4], ARGV[5]) and 1 or -1
  if code == 1 then map_remove(map, ARGV[3]) end
end
if not map.epoch then
  map.epoch, map.offset = position(map.meta, map.partition, map.made, map.generation, map.era, map.meta_ttl, map.mark,
    map.other)
end
return {code, map.epoch, map.offset, map.counted}
