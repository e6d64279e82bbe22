-- Hand an incarnation that has entries in a scope, but no lease and no place in the list, to the reapers.
-- KEYS 1 leases  2 its scopes
-- ARGV 1 the finder  2 the incarnation  3 TTL of the keys, s  4 scope
-- Returns 1 when handed over; 0 when the finder's own lease is gone or the incarnation lives.
-- Atomic, so that one that registers itself at this moment is either seen alive here or finds itself in the list.
if not lease_held(KEYS[1], ARGV[1]) or lease_held(KEYS[1], ARGV[2]) then
  return 0
end
redis.call('EXPIRE', KEYS[1], ARGV[3]) -- passes where memory is full
redis.call('ZADD', KEYS[1], 'NX', ORPHANED, ARGV[2])
redis.call('SADD', KEYS[2], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
