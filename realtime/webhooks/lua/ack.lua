-- Take delivered events out of one part of a queue.
-- KEYS 1 list  2 about it
-- ARGV 1 term of the asker  2 number of the last event that was delivered  3 that event, as it was fetched
--      4 bytes that an event counts beside its own
-- Returns how many are left, or -1 when a later holder was here, or Redis has lost data since: then they come again.
-- Atomic, because events may have been dropped since they were fetched, and only what was delivered may go.
if redis.call('HGET', KEYS[2], 'term') ~= ARGV[1] then
  return -1
end
local length = redis.call('LLEN', KEYS[1])
local count = tonumber(ARGV[2]) - (tonumber(redis.call('HGET', KEYS[2], 'number') or 0) - length)
if count < 1 then
  return length
elseif redis.call('LRANGE', KEYS[1], count - 1, count - 1)[1] ~= ARGV[3] then
  return -1
end
local bytes = 0
for _, event in ipairs(redis.call('LPOP', KEYS[1], count)) do
  bytes = bytes + #event + ARGV[4]
end
redis.call('HINCRBY', KEYS[2], 'bytes', -bytes)
return length - count
