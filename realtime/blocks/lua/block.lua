-- Blocks somebody until a time, or blocks them anew for another time.
-- Atomic, because the bound on blocks must hold against two at once, and the version must follow what it counts.
-- KEYS  1 blocks (sorted set: who → end, ms of Redis's clock)  2 about (hash: who → JSON)  3 version
-- ARGV  1 who  2 for how long, ms  3 JSON about it  4 most blocks
-- returns {version, end in ms}, or {-1, 0} when there are as many blocks as there may be
-- Blocks are few, and wanted most when something is wrong: the first write is one that passes where memory is full.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[1], over)
  redis.call('HDEL', KEYS[2], over)
end
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then
  return {-1, 0}
end
local ends = now + tonumber(ARGV[2])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], text(ends), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], text(tonumber(last)))
redis.call('PEXPIREAT', KEYS[2], text(tonumber(last)))
return {redis.call('INCR', KEYS[3]), ends}
