-- Mark an incarnation dead for good, and claim the work of reaping it for a moment.
-- KEYS 1 leases  2 the reaper's tombstone  3 the dead one's tombstone  4 the claim
-- ARGV 1 the reaper  2 the dead  3 TTL of the tombstone, s  4 length of the claim, ms
-- Returns 1 when the caller shall reap; 0 when it may not (its own lease is gone, the other lives, or is gone, or another reaps).
-- Atomic: a lease renewed a moment ago must win against the tombstone, and a tombstone against the next renewal.
if redis.call('EXISTS', KEYS[2]) == 1 or not lease_held(KEYS[1], ARGV[1]) then
  return 0
elseif not redis.call('ZSCORE', KEYS[1], ARGV[2]) or lease_held(KEYS[1], ARGV[2]) then
  return 0
end
redis.call('EXPIRE', KEYS[1], ARGV[3]) -- passes where memory is full
redis.call('SET', KEYS[3], '1', 'EX', ARGV[3])
local claimed = redis.call('GET', KEYS[4])
if claimed and claimed ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[4])
return 1
