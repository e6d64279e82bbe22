-- Does on one Redis what the product does there, in small: a stream, a hash, their expiry, an announcement.
-- One script, because it is scripts that everything goes through.
-- KEYS 1 a stream  2 a hash
-- ARGV 1 what to write  2 how long it stays, ms  3 a topic that nobody listens to
-- returns {what the stream gave back, what the hash gave back}
redis.call('XADD', KEYS[1], 'MAXLEN', '1', '*', 'd', ARGV[1])
redis.call('HSET', KEYS[2], 'd', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
local entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', '1')
return { entries[1][2][2], redis.call('HGET', KEYS[2], 'd') }
