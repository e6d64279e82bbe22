-- Runs commands one after another, as scripts run them, and says which of them this user may not.
-- One script, because it is scripts that everything goes through.
-- KEYS the keys that the commands touch
-- ARGV for each command how many words it has, then the words
-- returns what is missing: a command as '+hset', rights on these keys as '~', on this topic as '&'; or the first other
-- error, where nothing is missing. A command that the server does not know is missing as well, but for SPUBLISH, which
-- scripts do without where it is not there (`store/lua/_announce.lua`).
-- The words are those of Redis before 7.2, then those of Redis from 7.2 on and of Valkey.
local function right(problem, command)
  local function says(words)
    return string.find(problem, words)
  end
  if says("can't run this command") or says('no permissions to run') or says('Unknown .-command called') then
    return '+' .. command
  elseif says("can't publish") or says("no permissions to access .- channel") then
    return '&'
  elseif says("can't access") or says('no permissions to access') then
    return '~'
  end
end

local missing, other, at = {}, nil, 1
while at < #ARGV do
  local last = at + tonumber(ARGV[at])
  local there = ARGV[at + 1] ~= 'spublish' or redis.REDIS_VERSION_NUM
  local reply = there and redis.pcall(unpack(ARGV, at + 1, last))
  local problem = type(reply) == 'table' and reply.err
  if problem then
    missing[#missing + 1] = right(problem, ARGV[at + 1])
    other = other or string.gsub(problem, '^-', '')
  end
  at = last + 1
end
if other and #missing == 0 then
  return redis.error_reply(other)
end
return missing
