-- One process says that it lives and what it denied, and learns what changed.
--
-- KEYS   version, alive, hottest
-- ARGV   this process's name, ms after which a silent process counts as gone, most keys kept in `hottest`,
--        seconds it is kept without news; then (member, denials) pairs
-- returns {version, number of living processes}
--
-- Atomic because a process must not be counted between being added and another's being removed; one round trip.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2])) -- first: it passes where memory is full
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
for place = 5, #ARGV, 2 do
  redis.call('ZINCRBY', KEYS[3], ARGV[place + 1], ARGV[place])
end
if #ARGV > 5 then
  redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - tonumber(ARGV[3]))
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
return {tonumber(redis.call('GET', KEYS[1]) or 0), redis.call('ZCARD', KEYS[2])}
