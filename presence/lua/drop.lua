-- Remove connections of one incarnation from a scope and announce their leaves; those that are not there are skipped.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4 this incarnation's fence in the scope
--      5 pending ends  6 claimed ends  7 taken (5-7 for a user's scope only)  then maps, queues of
--      events
-- ARGV 1 incarnation  2 generation  3 topic ('' = silent)  4 head of a leave  5 TTL of the ends, s
--      6 'user' when a user's last connection alone is announced  7 what is told to queues ('' = nothing)
--      8 what is told to maps ('' = nothing), of a channel's scope only
--      9… client, user, note ('' = its end is not to be told), cause of the end, for its event, …
-- Returns {1 | -1 reaped | -2 overtaken, then client, user, info, 1 when it was the user's last connection, …}.
-- Atomic, because exactly one of two callers may announce a leave, the user's count must follow the entries, and an end
-- is noted by exactly one of its owner and the reapers. Where Redis lost an entry its owner may still note the end.
local maps = maps_of(ARGV[8], KEYS, 5, ARGV[5])
if maps and maps.doubt then
  return maps.doubt
end
local why = refused(KEYS[4], ARGV[2])
if why then
  return { why }
end
local reply, outbox = { 1 }, outbox_of(ARGV[7], KEYS)
for i = 9, #ARGV, 4 do
  -- first: it passes where memory is full
  drop(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[i], ARGV[3], ARGV[4], ARGV[6], outbox, ARGV[i + 3], reply, maps)
  if ARGV[i + 2] ~= '' then
    note_end(KEYS[5], KEYS[6], ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[5])
  end
end
return reply
