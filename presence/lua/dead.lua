-- The incarnations whose lease ran out.
-- KEYS 1 leases
-- ARGV 1 the asking incarnation  2 most names in the answer
-- Returns {1 when the asking one holds its lease, then incarnations}.
-- Atomic, so that both answers are of one moment.
local reply = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now_ms(), 'LIMIT', 0, ARGV[2])
table.insert(reply, 1, lease_held(KEYS[1], ARGV[1]) and 1 or 0)
return reply
