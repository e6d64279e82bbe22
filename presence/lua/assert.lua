-- Say again which connections an incarnation has in a scope: entries that are missing are put back silently, but
-- for maps, which are told.
-- KEYS 1 entries  2 users  3 this incarnation's clients  4 this incarnation's fence in the scope  5… maps
-- ARGV 1 incarnation  2 generation  3 TTL of the keys, s  4 '1' to be told of others
--      5 what is told to maps ('' = nothing)  6… client, user, info, …
-- Returns {1 | -1 reaped | -2 overtaken, then, if asked for, the incarnation's clients here that were not named}.
-- Raises the fence to this generation: a write that was given up earlier, and that Redis finds in a socket only now,
-- is refused from here on. Atomic with the entries, or such a write could slip in between.
local maps = maps_of(ARGV[5], KEYS, 5, ARGV[3])
if maps and maps.doubt then
  return maps.doubt
end
local why = refused(KEYS[4], ARGV[2])
if why then
  return { why }
end
redis.call('SET', KEYS[4], ARGV[2], 'EX', ARGV[3])
local named = {}
for i = 6, #ARGV, 3 do
  named[ARGV[i]] = true
  put(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[i], ARGV[i + 1], ARGV[i + 2], maps)
end
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[3])
end
local reply = { 1 }
if ARGV[4] == '1' then
  for _, client in ipairs(redis.call('SMEMBERS', KEYS[3])) do
    if not named[client] then
      table.insert(reply, client)
    end
  end
end
return reply
