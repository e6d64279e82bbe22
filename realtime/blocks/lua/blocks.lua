-- Reads the blocks that are in force.
-- Atomic, because they and their version must belong together.
-- KEYS  1 blocks  2 version
-- returns {version, who, ms left, who, ms left, …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {tonumber(redis.call('GET', KEYS[2]) or 0)}
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. text(now), '+inf', 'WITHSCORES')
for i = 1, #found, 2 do
  answer[#answer + 1] = found[i]
  answer[#answer + 1] = tonumber(found[i + 1]) - now
end
return answer
