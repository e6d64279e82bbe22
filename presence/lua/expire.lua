-- End a lease at once, if there is one: its owner may yet take it again.
-- KEYS 1 leases
-- ARGV 1 incarnation
-- Returns 1.
-- A script, because ZADD alone is refused where memory is full, and reapers would have to wait for the lease to run out.
redis.call('ZREM', KEYS[1], '') -- of nobody: passes where memory is full
redis.call('ZADD', KEYS[1], 'XX', ENDED, ARGV[1])
return 1
