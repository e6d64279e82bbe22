-- `register` a scope, then `add` one connection to it: for a scope that lives on the Redis of the leases.
-- KEYS 1-4 as in add.lua  5-8 as in register.lua (another tag: never for a Redis Cluster)
-- ARGV 1-9 as in add.lua  10… what is noted: the scope, and where its ends will be
-- Returns as add.lua does, and {-3, 0} when the lease is not held.
-- Atomic for the reasons of both; together, because each costs a connecting client a round trip.
local scopes = {}
for i = 10, #ARGV do
  scopes[i - 9] = ARGV[i]
end
local noted = register(KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[1], ARGV[2], ARGV[3], scopes)
if noted < 0 then
  return { noted, 0 }
end
return add(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8],
  tonumber(ARGV[9]))
