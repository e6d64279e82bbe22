-- Adds what an instance has seen to the list from which whoever follows it live collects.
-- A script, so that the list never stays for longer than it may, and never grows beyond what is collected
-- in time: the oldest goes.
-- KEYS  1 what was seen (list)
-- ARGV  1 a batch of events  2 how long it waits for its collector, s  3 the most batches that wait
-- returns 1; 0 when too much waits, and the oldest batch went

local waiting = redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
if waiting > tonumber(ARGV[3]) then
  redis.call('LPOP', KEYS[1])
  return 0
end
return 1
