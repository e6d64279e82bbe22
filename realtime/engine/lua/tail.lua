-- Adds what an instance has seen to the list from which whoever follows it live collects.
-- A script, so that the list never stays for longer than it may, and never grows beyond what is collected in time.
-- KEYS  1 what was seen (list)
-- ARGV  1 a batch of events  2 how long it waits for its collector, s  3 the most batches that wait
-- returns 1; 0 when too much waits already, and the batch was left out

if redis.call('LLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
