--[[ _maps.lua ]]
-- Takes entries that have ended out of a map, each with its removal.
-- Atomic, because several instances may do it at once, and each entry has one removal.
-- KEYS  the map's (`_maps.lua`)
-- ARGV  1 about the map  2 channel  3 most entries
-- returns {how many they were, epoch of the last removal ('': there was none), its offset, count of the partition}, or the
-- error DOUBT

local map = map_of(KEYS, 1, ARGV[1], ARGV[2])
if not map then return redis.error_reply(DOUBT) end
local ended = map_end(map, tonumber(ARGV[3]))
map_plan(map)
return {ended, map.epoch or '', map.offset or 0, map.counted}
