-- The last instance of a cluster that ends in order leaves word of it: whoever comes next may trust a later run of
-- Redis that holds just as much. The mark counts once.
-- Atomic, because the mark must name the count that stands here.
-- KEYS  1 partition
-- ARGV  1 the run of Redis that the process knows
-- returns 1, or 0 where that run is not the trusted one

local found = redis.call('HMGET', KEYS[1], 'n', 'r', 'd')
if found[2] ~= ARGV[1] or found[3] then return 0 end
redis.call('HDEL', KEYS[1], 'm')  -- passes where memory is full, as HSET alone would not
redis.call('HSET', KEYS[1], 'm', found[1])
return 1
