--[[ _maps.lua ]]
-- Reads a page of a map's entries in the order of their keys, and the position of its stream.
-- Atomic, because entries and position must belong together.
-- KEYS  the map's (`_maps.lua`)
-- ARGV  1 about the map  2 channel  3 the key behind which the page begins ('': the first)  4 most entries (0: none)
--       5 most bytes  6 one key alone ('': a page)
-- returns {epoch, top, count of the partition, entries of the map, their bytes, last key of a page that more follow (''),
-- then offset (0: of another epoch), body, …}, or the error DOUBT
-- One entry is given even if it is larger than the bytes allow, or nobody would ever get past it.

local map = map_of(KEYS, 1, ARGV[1], ARGV[2])
if not map then return redis.error_reply(DOUBT) end
local epoch, top = position(map.meta, map.partition, map.made, map.generation, map.era, map.meta_ttl, map.mark,
  map.other)
local answer = {
  epoch, top, map.counted, redis.call('HLEN', map.state), tonumber(redis.call('HGET', map.bytes, 'b') or '0'), '',
}
local most, keys, more = tonumber(ARGV[4]), {ARGV[6]}, false
if ARGV[6] == '' then
  if most == 0 then return answer end
  keys = redis.call('ZRANGE', map.index, ARGV[3] == '' and '-' or '(' .. ARGV[3], '+', 'BYLEX', 'LIMIT', 0, most + 1)
  more = #keys > most
  if more then keys[#keys] = nil end
end
if #keys == 0 then return answer end
local values, now, bytes = redis.call('HMGET', map.state, unpack(keys)), now_ms(), 0
for i, value in ipairs(values) do
  local entry = value and map_entry(value)
  if entry and (entry.ends == 0 or entry.ends > now) then
    bytes = bytes + #entry.body
    if bytes > tonumber(ARGV[5]) and #answer > 6 then
      answer[6] = keys[i - 1]
      return answer
    end
    answer[#answer + 1] = entry.epoch == epoch and entry.offset or '0'
    answer[#answer + 1] = entry.body
  end
end
if more then answer[6] = keys[#keys] end
return answer
