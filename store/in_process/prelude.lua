-- The surroundings of a script, as Redis gives them: `redis`, `cmsgpack`, `struct`, and nothing of the system.
-- Called once with what Python gives; returns the functions by which Python compiles and runs scripts.
local dispatch, sha1hex, mp_pack, mp_unpack, struct_pack, struct_unpack, struct_size = ...

local raise, protected, load, surround = error, pcall, loadstring, setfenv
local bare, fetch, fix, kind, text = rawset, rawget, setmetatable, type, tostring

-- `dispatch` gives (true, reply), or (false, text of the error)
local function answer(fine, reply)
  if fine then return reply end
  return { err = reply }
end

local redis = {}
function redis.pcall(...)
  return answer(dispatch(...))
end
function redis.call(...)
  local reply = answer(dispatch(...))
  if kind(reply) == 'table' and reply.err then raise(reply, 0) end
  return reply
end
function redis.error_reply(problem)
  return { err = problem }
end
function redis.status_reply(status)
  return { ok = status }
end
redis.sha1hex = sha1hex
redis.LOG_DEBUG, redis.LOG_VERBOSE, redis.LOG_NOTICE, redis.LOG_WARNING = 0, 1, 2, 3
function redis.log() end

-- what a script sees; the globals themselves stay as they are, for Python's side of Lua needs them
local surroundings = {
  redis = redis,
  cmsgpack = { pack = mp_pack, unpack = mp_unpack },
  struct = { pack = struct_pack, unpack = struct_unpack, size = struct_size },
  string = string, table = table, math = math,
}
for _, name in ipairs({ 'assert', 'error', 'ipairs', 'next', 'pairs', 'pcall', 'rawequal', 'rawget', 'rawset', 'select',
                        'tonumber', 'tostring', 'type', 'unpack', 'xpcall' }) do
  surroundings[name] = _G[name]
end
fix(surroundings, {
  __index = function(_, name)
    raise("Script attempted to access nonexistent global variable '" .. text(name) .. "'", 2)
  end,
  __newindex = function()
    raise('Attempt to modify a readonly table', 2)
  end,
})

-- the script, or the text of what is wrong with it
local function compile(source)
  local script, problem = load(source, '@user_script')
  if script then surround(script, surroundings) end
  return script or problem
end

-- (true, what the script returned), or (false, the error's text)
local function run(script, keys, arguments)
  bare(surroundings, 'KEYS', keys)
  bare(surroundings, 'ARGV', arguments)
  local fine, found = protected(script)
  if fine then return true, found end
  if kind(found) == 'table' and kind(fetch(found, 'err')) == 'string' then return false, found.err end
  return false, 'ERR ' .. text(found)
end

return compile, run
