-- Ends a block before its time.
-- Atomic, because the version must follow what it counts.
-- KEYS  1 blocks  2 about  3 version
-- ARGV  1 who
-- returns the version, or 0 when they were not blocked

redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
return redis.call('INCR', KEYS[3])
