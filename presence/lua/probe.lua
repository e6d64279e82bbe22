-- Leave an incarnation's mark on a shard, and read the one before it.
-- KEYS 1 the mark
-- ARGV 1 the mark's number  2 TTL, s
-- Returns the number before, or nil.
-- Atomic, because a mark that was left between the two would be taken for one that was lost.
local before = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1]) -- passes where memory is full, as SET alone would not
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return before
