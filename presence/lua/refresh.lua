-- Give a scope's keys their full TTL again.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4… those of maps of the scope
-- ARGV 1 TTL of the keys, s  2 how many entries to look at
-- Returns {1 when this incarnation has clients here, then the incarnations met among some entries, chosen by chance}.
-- Atomic, because entries and users must expire together, or counts would drift from members.
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[1])
local reply = { redis.call('EXPIRE', KEYS[3], ARGV[1]) }
for i = 4, #KEYS do
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
local seen = {}
local some = redis.call('HRANDFIELD', KEYS[1], ARGV[2], 'WITHVALUES')
for i = 2, #some, 2 do
  local owner = unpack_entry(some[i])
  if not seen[owner] then
    seen[owner] = true
    table.insert(reply, owner)
  end
end
return reply
