-- The oldest events of one part of a queue; they stay until `ack` takes them out.
-- KEYS 1 list  2 about it
-- ARGV 1 term of the asker  2 most events
-- Returns {number of the first event, events dropped since the last call, events …}, {-1} when a later holder was here,
-- {0} when there are none.
-- Atomic, because the first number follows from the last one and the length, and because from here on an earlier
-- holder may take nothing out.
local length = redis.call('LLEN', KEYS[1])
local known = tonumber(redis.call('HGET', KEYS[2], 'term') or 0)
if known > tonumber(ARGV[1]) then
  return { -1 }
elseif length == 0 then
  return { 0 }
end
local dropped = redis.call('HGET', KEYS[2], 'dropped')
redis.call('HDEL', KEYS[2], 'dropped') -- first: it passes where memory is full
if known < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[2], 'term', ARGV[1])
end
local reply = redis.call('LRANGE', KEYS[1], 0, ARGV[2] - 1)
table.insert(reply, 1, tonumber(dropped or 0))
table.insert(reply, 1, tonumber(redis.call('HGET', KEYS[2], 'number') or length) - length + 1)
return reply
