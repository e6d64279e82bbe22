-- Enter one connection into a scope, and announce its join if it was not there.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4 this incarnation's fence in the scope
-- ARGV 1 incarnation  2 generation  3 TTL of the keys, s  4 client  5 user  6 info  7 topic ('' = silent)  8 head of a join
--      9 most connections the scope may have (none: any number)
-- Returns {1 new | 0 was there | -1 reaped | -2 overtaken | -3 full, 1 when it is the user's first connection}.
-- Atomic, because a reaper's fence between the check and the entry would leave a ghost, and because a join that is
-- announced apart from its entry could follow the leave, and because two could take the last place.
local why = refused(KEYS[4], ARGV[2])
if why then
  return { why, 0 }
end
if ARGV[9] and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[9]) and redis.call('HEXISTS', KEYS[1], ARGV[4]) == 0 then
  return { -3, 0 }
end
local new, first = put(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[4], ARGV[5], ARGV[6])
if redis.call('SCARD', KEYS[3]) == 1 or redis.call('HLEN', KEYS[1]) == 1 then
  for i = 1, 3 do
    redis.call('EXPIRE', KEYS[i], ARGV[3])
  end
end
if not new then
  return { 0, 0 }
end
announce(ARGV[7], ARGV[8], ARGV[6])
return { 1, first and 1 or 0 }
