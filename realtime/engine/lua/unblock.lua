-- Ends a block before its time.
-- Atomic, because the version must follow what it counts.
-- KEYS  1 blocks  2 about  3 version
-- ARGV  1 who
-- returns 1, or 0 when they were not blocked

redis.call('HDEL', KEYS[2], ARGV[1])
local removed = redis.call('ZREM', KEYS[1], ARGV[1])
if removed == 1 then redis.call('INCR', KEYS[3]) end
return removed
