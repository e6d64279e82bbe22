-- A partition that streams come to from another Redis: the epoch that all of them get here, and that no stream of this
-- partition had or will have.
-- KEYS  1 partition (hash, see store/lua/arrive.lua)  2 made (see store/lua/_streams.lua)
-- ARGV  1 this run of Redis  2 a fresh generation, for a partition that is not there yet
-- returns the epoch
-- Atomic, because the era that is used must be over when the next stream is made.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'g', 's')
local generation = found[1]
if not generation then
  generation = ARGV[2]
  redis.call('HSET', KEYS[1], 'g', generation, 'n', '0', 'r', ARGV[1], 'b', '0')
end
local era = math.max(now, tonumber(found[2] or '0') + 1)
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 's', string.format('%.0f', era + 1))
return generation .. '.' .. string.format('%x', era)
