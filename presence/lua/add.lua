-- Enter one connection into a scope, and announce its join if it was not there.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4 this incarnation's fence in the scope  5… maps, queues of events
-- ARGV 1 incarnation  2 generation  3 TTL of the keys, s  4 client  5 user  6 info  7 topic ('' = silent)  8 head of a join
--      9 most connections the scope may have (0: any number)
--      10 'user' when a user's first connection alone is announced  11 what is told to queues ('' = nothing)
--      12 what is told to maps ('' = nothing)
-- Returns {1 new | 0 was there | -1 reaped | -2 overtaken | -4 full, 1 when it is the user's first connection}, or, where maps are told, the error
-- DOUBT.
-- Atomic, because a reaper's fence between the check and the entry would leave a ghost, and because a join that is
-- announced apart from its entry could follow the leave, and because two could take the last place. So of events.
local maps = maps_of(ARGV[12], KEYS, 5, ARGV[3])
if maps and maps.doubt then
  return maps.doubt
end
return add(KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8],
  tonumber(ARGV[9]), ARGV[10], outbox_of(ARGV[11], KEYS), maps)
