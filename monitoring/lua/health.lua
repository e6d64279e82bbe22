-- Runs commands one after another, as scripts run them, and says which of them this user may not.
-- One script, because it is scripts that everything goes through.
-- KEYS the keys that the commands touch
-- ARGV for each command how many words it has, then the words
-- returns what is missing: a command as '+hset', rights on these keys as '~', on this topic as '&'; or the first other
-- error, where nothing is missing
local function right(problem, command)
  if string.find(problem, "can't run this command", 1, true) or string.find(problem, 'Unknown Redis command', 1, true) then
    return '+' .. command
  elseif string.find(problem, "can't access", 1, true) then
    return '~'
  elseif string.find(problem, "can't publish", 1, true) then
    return '&'
  end
end

local missing, other, at = {}, nil, 1
while at < #ARGV do
  local last = at + tonumber(ARGV[at])
  local reply = redis.pcall(unpack(ARGV, at + 1, last))
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
