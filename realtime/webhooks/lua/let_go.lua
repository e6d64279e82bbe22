-- Give the right to deliver back, so that another has it at once.
-- KEYS 1 lease
-- ARGV 1 who held it
-- Returns 1, or 0 when it is somebody else's.
-- Atomic, or the lease of the next one could be deleted.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
