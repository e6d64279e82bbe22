-- `register` a scope, then `add` one connection to it: for a scope that lives on the Redis of the leases.
-- KEYS 1-4 as in add.lua  5-8 as in register.lua (another tag: never for a Redis Cluster)  9… maps, queues of events
-- ARGV 1-12 as in add.lua  13… what is noted: the scope, and where its ends will be
-- Returns as add.lua does, and {-3, 0} when the lease is not held.
-- Atomic for the reasons of both; together, because each costs a connecting client a round trip.
local maps = maps_of(ARGV[12], KEYS, 9, ARGV[3])
if maps and maps.doubt then
  return maps.doubt
end
local scopes = {}
for i = 13, #ARGV do
  scopes[i - 12] = ARGV[i]
end
local noted = register(KEYS[5], KEYS[6], KEYS[7], KEYS[8], ARGV[1], ARGV[2], ARGV[3], scopes)
if noted < 0 then
  return { noted, 0 }
end
return add(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8],
  tonumber(ARGV[9]), ARGV[10], outbox_of(ARGV[11], KEYS), maps)
