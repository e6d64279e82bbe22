-- Remove connections of one incarnation from a scope and announce their leaves; those that are not there are skipped.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4 this incarnation's fence in the scope
-- ARGV 1 incarnation  2 generation  3 topic ('' = silent)  4 head of a leave  5… clients
-- Returns {1 | -1 reaped | -2 overtaken, then client, user, info, 1 when it was the user's last connection, …}.
-- Atomic, because exactly one of two callers may announce a leave, and the user's count must follow the entries.
local why = refused(KEYS[4], ARGV[2])
if why then
  return { why }
end
local reply = { 1 }
for i = 5, #ARGV do
  drop(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[i], ARGV[3], ARGV[4], reply)
end
return reply
