-- Shared head of every presence script: how an entry is written, and how one goes in and out.
-- An entry's value is: incarnation LF length-of-user LF user info. Users and info may hold any bytes.
local REAPED = 'reaped'
local ENDED = 0 -- the end of a lease of which somebody knows for certain that it is over
local ORPHANED = 1 -- the end of a lease that nobody has seen: its owner may yet come and take it

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A msgpack value of type bin, so that payload bytes cross the channel layer exactly as they are.
local function bin(payload)
  local n = #payload
  if n < 256 then
    return string.char(0xc4, n) .. payload
  elseif n < 65536 then
    return string.char(0xc5, math.floor(n / 256), n % 256) .. payload
  end
  return string.char(0xc6, math.floor(n / 16777216), math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
    .. payload
end

local function announce(topic, head, info)
  if topic ~= '' then
    redis.call('PUBLISH', topic, head .. bin(info))
  end
end

local function pack_entry(incarnation, user, info)
  return incarnation .. '\n' .. #user .. '\n' .. user .. info
end

local function unpack_entry(value)
  local first = string.find(value, '\n', 1, true)
  local second = string.find(value, '\n', first + 1, true)
  local last = second + tonumber(string.sub(value, first + 1, second - 1))
  return string.sub(value, 1, first - 1), string.sub(value, second + 1, last), string.sub(value, last + 1)
end

-- One connection fewer of a user; true when that was the last.
local function count_down(users, user)
  if redis.call('HINCRBY', users, user, -1) > 0 then
    return false
  end
  redis.call('HDEL', users, user)
  return true
end

-- Why a write of this generation may not happen: -1 the incarnation was reaped here, -2 a newer write overtook it.
local function refused(fence, generation)
  local value = redis.call('GET', fence)
  if not value then
    return nil
  elseif value == REAPED then
    return -1
  elseif tonumber(value) > tonumber(generation) then
    return -2
  end
  return nil
end

-- Write an entry. Returns whether the client was absent, and whether it is the user's only connection.
local function put(entries, users, mine, incarnation, client, user, info)
  local value = pack_entry(incarnation, user, info)
  local old = redis.call('HGET', entries, client)
  redis.call('SADD', mine, client)
  if old == value then
    return false, false
  end
  redis.call('HSET', entries, client, value)
  local old_user = nil
  if old then
    local _
    _, old_user = unpack_entry(old)
  end
  if old_user == user then
    return false, false
  elseif old_user then
    count_down(users, old_user)
  end
  return not old, redis.call('HINCRBY', users, user, 1) == 1
end

-- Remove an entry if it is this incarnation's, announce its leave, and append (client, user, info, last) to `removed`.
local function drop(entries, users, mine, incarnation, client, topic, head, removed)
  redis.call('SREM', mine, client)
  local value = redis.call('HGET', entries, client)
  if not value then
    return
  end
  local owner, user, info = unpack_entry(value)
  if owner ~= incarnation then
    return
  end
  redis.call('HDEL', entries, client)
  local last = count_down(users, user)
  announce(topic, head, info)
  table.insert(removed, client)
  table.insert(removed, user)
  table.insert(removed, info)
  table.insert(removed, last and 1 or 0)
end

local function lease_held(leases, incarnation)
  return tonumber(redis.call('ZSCORE', leases, incarnation) or 0) > now_ms()
end

