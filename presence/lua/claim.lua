-- Claim the telling of one connection's end: who gets 1 tells it, nobody else ever does.
-- KEYS 1 pending  2 claimed  3 taken
-- ARGV 1 client  2 who asks  3 TTL of the keys, s  4 '1' when the asker is the owner and knows that the end was noted
-- Returns 1, or 0 when another told or tells it.
-- What was claimed stays until it is crossed off, so that who did not get the answer may ask again.
-- The owner may have the claim for an end that Redis has lost, as long as no other has begun to tell the owner's ends.
-- Atomic, because exactly one may tell.
local claimed = redis.call('HGET', KEYS[2], ARGV[1])
if claimed then
  return claimed == ARGV[2] and 1 or 0
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and (ARGV[4] ~= '1' or redis.call('EXISTS', KEYS[3]) == 1) then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1]) -- first: it passes where memory is full
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
