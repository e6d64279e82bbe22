-- Note that an incarnation is about to have entries in scopes.
-- KEYS 1 leases  2 its tombstone  3 its scopes  4 generations
-- ARGV 1 incarnation  2 generation  3 TTL of the keys, s  4… scopes
-- Returns 1, or -1 fenced, -2 overtaken, -3 the lease is not held (nor was it reaped).
-- Atomic: a burial between the look at the tombstone and the note would leave a scope that nobody reaps.
local scopes = {}
for i = 4, #ARGV do
  scopes[i - 3] = ARGV[i]
end
return register(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], scopes)
