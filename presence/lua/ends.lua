-- Some of the ends that are still to be told.
-- KEYS 1 pending  2 claimed  3 taken
-- ARGV 1 most in the answer  2 TTL of the keys, s  3 '1' when the asker is not the owner, who is dead
-- Returns {how many there are, then client, user and note, …}.
-- Atomic: from the mark on, the owner is given no claim for an end that is not there (see claim.lua).
redis.call('EXPIRE', KEYS[1], ARGV[2]) -- first: it passes where memory is full
if ARGV[3] == '1' then
  redis.call('SET', KEYS[3], '1', 'EX', ARGV[2])
end
local reply = redis.call('HRANDFIELD', KEYS[1], ARGV[1], 'WITHVALUES')
table.insert(reply, 1, redis.call('HLEN', KEYS[1]))
return reply
