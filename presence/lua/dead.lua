-- The incarnations whose lease ran out or was ended.
-- KEYS 1 leases
-- ARGV 1 the asking incarnation  2 most names in the answer
-- Returns {1 when the asking one holds its lease, then incarnation, 1 when its lease was ended (0: it ran out), …}.
-- Atomic, so that all answers are of one moment.
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms(), 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local reply = { lease_held(KEYS[1], ARGV[1]) and 1 or 0 }
for i = 1, #found, 2 do
  table.insert(reply, found[i])
  table.insert(reply, tonumber(found[i + 1]) == ENDED and 1 or 0)
end
return reply
