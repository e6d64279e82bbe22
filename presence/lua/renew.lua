-- Take or renew the lease of one incarnation.
-- KEYS 1 leases (incarnation → end, ms)  2 about (incarnation → number LF JSON)  3 its tombstone  4 its scopes  5 generations
-- ARGV 1 incarnation  2 length of the lease, ms  3 this renewal's number  4 that of the last one that was answered  5 JSON  6 TTL of the keys, s
--      7 Redis's time of that answer, ms (0 = none yet)  8 longest silence without proof of having been spared, ms
-- Returns {0 fenced | 1 renewed | 2 the lease was missing | 3 Redis is older than it was, Redis's time in ms}.
-- Atomic with the tombstone: after a reaper's mark no renewal succeeds. After a silence near the life of tombstones the
-- absence of one proves nothing any more: the incarnation is given up.
local now = now_ms()
if redis.call('EXISTS', KEYS[3]) == 1 then
  return { 0, now }
end
redis.call('EXPIRE', KEYS[1], ARGV[6]) -- passes where memory is full
local missing = not lease_held(KEYS[1], ARGV[1])
local last = tonumber(ARGV[7])
if missing and last > 0 and now - last > tonumber(ARGV[8]) then
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[6])
  redis.call('ZADD', KEYS[1], ENDED, ARGV[1])
  return { 0, now }
end
local last = tonumber(string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^%d+') or 0)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3] .. '\n' .. ARGV[5])
for _, i in ipairs({ 1, 2, 4, 5 }) do
  redis.call('EXPIRE', KEYS[i], ARGV[6])
end
if missing then
  return { 2, now }
elseif last < tonumber(ARGV[4]) then
  return { 3, now }
end
return { 1, now }
