-- Cross off scopes of a dead incarnation that are reaped; after the last one forget it. Its tombstone stays.
-- KEYS 1 leases  2 about  3 its scopes  4 generations  5 its tombstone
-- ARGV 1 the dead incarnation  2… scopes
-- Returns how many scopes are left.
-- Atomic, because only an incarnation with a tombstone and without scopes may be forgotten.
for i = 2, #ARGV do
  redis.call('SREM', KEYS[3], ARGV[i])
end
local left = redis.call('SCARD', KEYS[3])
if left == 0 and redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[4], ARGV[1])
end
return left
