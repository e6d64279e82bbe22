-- Give an incarnation up by its own process: nothing may be written for it any more.
-- KEYS 1 leases  2 about  3 its scopes  4 generations  5 its tombstone
-- ARGV 1 incarnation  2 TTL of the tombstone, s  3 '1' when all of its entries are gone, '0' to leave them to the reapers
-- Returns 1.
-- Atomic, because a tombstone without an ended lease, or the reverse, would be read as another state.
redis.call('EXPIRE', KEYS[1], ARGV[2]) -- passes where memory is full
redis.call('SET', KEYS[5], '1', 'EX', ARGV[2])
if ARGV[3] == '1' then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1])
  redis.call('DEL', KEYS[3])
else
  redis.call('ZADD', KEYS[1], 'XX', ENDED, ARGV[1])
end
return 1
