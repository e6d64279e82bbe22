-- Remove connections of a dead incarnation from a scope, announce their leaves, and fence the incarnation off there.
-- KEYS 1 entries  2 users  3 the dead incarnation's clients  4 its fence in the scope
--      5 pending ends  6 claimed ends  7 taken (5-7 for a user's scope only)  then maps, queues of
--      events
-- ARGV 1 the dead incarnation  2 TTL of the fence and of the ends, s  3 most entries in this call
--      4 topic ('' = silent)  5 head of a leave  6 note of the ends ('' = they are not to be told)
--      7 'user' when a user's last connection alone is announced  8 what is told to queues ('' = nothing)
--      9 cause of the ends, for their events  10 what is told to maps ('' = nothing), of a channel's scope only
-- Returns {clients that are left, then client, user, info, 1 when it was the user's last connection, …}.
-- Atomic, because the fence must stand before the first entry goes, because several survivors may run it at once or
-- after one another, each entry having one leave, and because an end must be noted with the entry's removal.
local maps = maps_of(ARGV[10], KEYS, 5, ARGV[2])
if maps and maps.doubt then
  return maps.doubt
end
redis.call('EXPIRE', KEYS[3], ARGV[2]) -- passes where memory is full
redis.call('SET', KEYS[4], REAPED, 'EX', ARGV[2])
local reply, outbox = { 0 }, outbox_of(ARGV[8], KEYS)
for _, client in ipairs(redis.call('SRANDMEMBER', KEYS[3], ARGV[3])) do
  local before = #reply
  drop(KEYS[1], KEYS[2], KEYS[3], ARGV[1], client, ARGV[4], ARGV[5], ARGV[7], outbox, ARGV[9], reply, maps)
  if ARGV[6] ~= '' and #reply > before then
    note_end(KEYS[5], KEYS[6], client, reply[before + 2], ARGV[6], ARGV[2])
  end
end
reply[1] = redis.call('SCARD', KEYS[3])
return reply
