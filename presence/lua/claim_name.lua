-- Take the first lease of an incarnation, unless another one of the same instance holds a lease.
-- KEYS 1 leases (incarnation → end, ms)  2 about (incarnation → number LF JSON)
-- ARGV 1 incarnation  2 its instance's name and "."  3 length of the lease, ms  4 JSON  5 TTL of the keys, s
--      6… incarnations that may hold one beside it
-- Returns {1}, or {0, the other one, end of its lease in ms, what it says of itself}.
-- Atomic, so that of two that start at once only one gets the name.
redis.call('EXPIRE', KEYS[1], ARGV[5]) -- passes where memory is full
local spared = {}
for i = 6, #ARGV do
  spared[ARGV[i]] = true
end
local held = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now_ms(), '+inf', 'WITHSCORES')
for i = 1, #held, 2 do
  local other = held[i]
  local same = string.sub(other, 1, #ARGV[2]) == ARGV[2] and string.match(string.sub(other, #ARGV[2] + 1), '^%x+$')
  if same and other ~= ARGV[1] and not spared[other] then
    return { 0, other, held[i + 1], redis.call('HGET', KEYS[2], other) or '' }
  end
end
redis.call('ZADD', KEYS[1], now_ms() + tonumber(ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], '0\n' .. ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
redis.call('EXPIRE', KEYS[2], ARGV[5])
return { 1 }
