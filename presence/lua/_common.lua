-- Shared head of every presence script: how an entry is written, and how one goes in and out.
-- An entry's value is: incarnation LF length-of-user LF user info. Users and info may hold any bytes.
--
-- Redis looks whether its memory is full at a script's first write alone, and lets pass one that cannot grow (EXPIRE,
-- SREM, HDEL). What enters somebody (add, enter, register, assert) begins with a write that may be refused; what keeps
-- alive, takes away or tells begins with one that passes, so that a full Redis ends no instance and keeps no ghosts.
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

-- Note that a connection's end is to be told, unless somebody is telling it. The value is: length-of-user LF user note.
local function note_end(pending, claimed, client, user, note, ttl)
  if redis.call('HEXISTS', claimed, client) == 0 then
    redis.call('HSETNX', pending, client, #user .. '\n' .. user .. note)
    redis.call('EXPIRE', pending, ttl)
  end
end

local function lease_held(leases, incarnation)
  return tonumber(redis.call('ZSCORE', leases, incarnation) or 0) > now_ms()
end

-- Note that an incarnation is about to have entries in `scopes`, so that whoever reaps it looks there.
-- Returns 1, or -1 fenced, -2 overtaken, -3 the lease is not held (nor was it reaped).
-- The tombstone comes before the reaper reads the scopes, so a scope is either refused here or seen there.
local function register(leases, tombstone, registered, generations, incarnation, generation, ttl, scopes)
  if redis.call('EXISTS', tombstone) == 1 then
    return -1
  elseif not lease_held(leases, incarnation) then
    return -3
  end
  local known = tonumber(redis.call('HGET', generations, incarnation) or 0)
  if known > tonumber(generation) then
    return -2
  elseif known < tonumber(generation) then
    redis.call('HSET', generations, incarnation, generation)
  end
  for _, scope in ipairs(scopes) do
    redis.call('SADD', registered, scope)
  end
  redis.call('EXPIRE', registered, ttl)
  redis.call('EXPIRE', generations, ttl)
  return 1
end

-- Enter one connection into a scope, with at most `most` in it (0: any number), and announce its join if it is new.
-- Returns {1 new | 0 was there | -1 reaped | -2 overtaken | -4 full, 1 when it is the user's first connection}.
local function add(entries, users, mine, fence, incarnation, generation, ttl, client, user, info, topic, head, most)
  local why = refused(fence, generation)
  if why then
    return { why, 0 }
  end
  if most > 0 and redis.call('HLEN', entries) >= most and redis.call('HEXISTS', entries, client) == 0 then
    return { -4, 0 }
  end
  local new, first = put(entries, users, mine, incarnation, client, user, info)
  if redis.call('SCARD', mine) == 1 or redis.call('HLEN', entries) == 1 then
    redis.call('EXPIRE', entries, ttl)
    redis.call('EXPIRE', users, ttl)
    redis.call('EXPIRE', mine, ttl)
  end
  if not new then
    return { 0, 0 }
  end
  announce(topic, head, info)
  return { 1, first and 1 or 0 }
end

