-- Adds an instance's answer to a command to the list from which whoever asked collects the answers.
-- A script, because RPUSH alone is refused where memory is full, and a command would seem to reach nobody.
-- KEYS  1 answers (list)
-- ARGV  1 the answer  2 how long it waits for its collector, s
-- returns 1

redis.call('EXPIRE', KEYS[1], ARGV[2])  -- passes where memory is full
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
