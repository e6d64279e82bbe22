-- Note that an incarnation has no entries in some scopes any more.
-- KEYS 1 its scopes  2 generations
-- ARGV 1 incarnation  2 generation  3… scopes
-- Returns 1, or -2 when a newer registration overtook it.
-- Atomic, or a call that was given up could undo the registration that followed it.
if tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0) > tonumber(ARGV[2]) then
  return -2
end
for i = 3, #ARGV do
  redis.call('SREM', KEYS[1], ARGV[i])
end
return 1
