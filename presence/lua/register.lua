-- Note that an incarnation is about to have entries in a scope, so that whoever reaps it looks there.
-- KEYS 1 leases  2 its tombstone  3 its scopes  4 generations
-- ARGV 1 incarnation  2 generation  3 TTL of the keys, s  4… scopes
-- Returns 1, or -1 fenced, -2 overtaken, -3 the lease is not held (nor was it reaped).
-- Atomic: the tombstone comes before the reaper reads the scopes, so a scope is either refused here or seen there.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return -1
elseif not lease_held(KEYS[1], ARGV[1]) then
  return -3
end
local generation = tonumber(redis.call('HGET', KEYS[4], ARGV[1]) or 0)
if generation > tonumber(ARGV[2]) then
  return -2
elseif generation < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[2])
end
for i = 4, #ARGV do
  redis.call('SADD', KEYS[3], ARGV[i])
end
redis.call('EXPIRE', KEYS[3], ARGV[3])
redis.call('EXPIRE', KEYS[4], ARGV[3])
return 1
