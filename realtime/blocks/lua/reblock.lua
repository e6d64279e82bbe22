-- Puts back blocks that Redis has lost, as an instance knows them; those that are there stay as they are.
-- Atomic, because the version, which is above any that was seen, must follow what it counts.
-- KEYS  1 blocks  2 version
-- ARGV  1 highest version that was seen  2… who, ms left, who, ms left, …
-- returns the version
-- The first write is one that passes where memory is full: of nobody, for no one has an empty name.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[1], '')
for i = 2, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], 'NX', text(now + tonumber(ARGV[i + 1])), ARGV[i])
end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if last then redis.call('PEXPIREAT', KEYS[1], text(tonumber(last))) end
local version = math.max(tonumber(redis.call('GET', KEYS[2]) or 0), tonumber(ARGV[1])) + 1
redis.call('SET', KEYS[2], text(version))
return version
