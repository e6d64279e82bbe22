-- Take or keep the right to deliver to one endpoint.
-- KEYS 1 lease  2 term
-- ARGV 1 who asks  2 for how long, ms  3 TTL of the term, s
-- Returns the term, which grows with every other holder, or 0 while somebody else holds the lease.
-- Atomic, because two who find it free must not both have it. Terms are times of Redis's clock, so that they grow also
-- when Redis has lost the last one.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('EXPIRE', KEYS[2], ARGV[3]) -- first: it passes where memory is full, and delivering is what frees it
local term = tonumber(redis.call('GET', KEYS[2]) or 0)
if holder and term > 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return term
end
local time = redis.call('TIME')
term = math.max(term + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', term), 'EX', ARGV[3])
return term
