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

--[[ _announce.lua ]]
--[[ _bin.lua ]]

local function announce_info(topic, head, info)
  if topic ~= '' then
    announce(topic, head .. bin(info))
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

-- Events for other services (`outbox.py`). `told` is '' where nobody wants any, else lines, each with its LF: the
-- channel ('' in a user's scope), and for each queue the kinds it takes, its most events, its most bytes, and its TTL
-- in s. The last keys of the script are the queues': for each a list, and a hash about it. Returns nil, or the two
-- functions that append events. They are made only here, so that a script that tells nothing pays for nothing.
local function outbox_of(told, keys)
  if told == '' then
    return nil
  end
  local EVENT_OVERHEAD = 64 -- bytes that an event in a list counts beside its own
  local lines, queues = {}, {}
  for line in string.gmatch(told, '([^\n]*)\n') do
    table.insert(lines, line)
  end
  local channel, before = lines[1], #keys - 2 * (#lines - 1)
  local of_user = channel == ''
  for i = 2, #lines do
    local kinds, count, bytes, ttl = string.match(lines[i], '^(%a+) (%d+) (%d+) (%d+)$')
    table.insert(queues, {
      kinds = kinds, count = tonumber(count), bytes = tonumber(bytes), ttl = ttl,
      list = keys[before + 2 * i - 3], about = keys[before + 2 * i - 2],
    })
  end

  -- Append an event to the queues that take its kind. What is too much for one goes, the oldest first, and is counted.
  local function tell(kind, incarnation, client, user, cause)
    local now, instance = now_ms(), string.match(incarnation, '^(.*)%.') or incarnation
    for _, queue in ipairs(queues) do
      if string.find(queue.kinds, kind, 1, true) then
        local number = redis.call('HINCRBY', queue.about, 'number', 1)
        local event = cmsgpack.pack({ number, now, kind, channel, user, client, instance, cause })
        local bytes = redis.call('HINCRBY', queue.about, 'bytes', #event + EVENT_OVERHEAD)
        local count = redis.call('RPUSH', queue.list, event)
        while count > 0 and (count > queue.count or bytes > queue.bytes) do
          local oldest = redis.call('LPOP', queue.list)
          bytes = redis.call('HINCRBY', queue.about, 'bytes', -(#oldest + EVENT_OVERHEAD))
          redis.call('HINCRBY', queue.about, 'dropped', 1)
          count = count - 1
        end
        redis.call('EXPIRE', queue.list, queue.ttl)
        redis.call('EXPIRE', queue.about, queue.ttl)
      end
    end
  end

  local outbox = {}

  -- The events of a new entry; visitors ('') are no users.
  function outbox.entered(entries, incarnation, client, user, first)
    if not of_user and redis.call('HLEN', entries) == 1 then
      tell('o', incarnation, '', '', '')
    end
    tell(of_user and 'c' or 's', incarnation, client, user, '')
    if first and user ~= '' then
      tell(of_user and 'n' or 'j', incarnation, client, user, '')
    end
  end

  -- The events of an entry that is gone.
  function outbox.gone(entries, incarnation, client, user, last, cause)
    tell(of_user and 'd' or 'u', incarnation, client, user, cause)
    if last and user ~= '' then
      tell(of_user and 'f' or 'l', incarnation, client, user, '')
    end
    if not of_user and redis.call('EXISTS', entries) == 0 then
      tell('v', incarnation, '', '', '')
    end
  end

  return outbox
end

-- Maps that a channel's presence changes (`maps.py`). `told` is '' where there are none, else for each of them what it is
-- told of, the bytes of its channel and of what is said about it, LF, then both. Their keys begin at `at`. Made only here,
-- as above. Returns nil, or functions that change them; `doubt` is the error to return while their partition is in doubt.
local function maps_of(told, keys, at, ttl)
  if told == '' then
    return nil
  end
  --[[ _streams.lua ]]
  --[[ _maps.lua ]]
  local of, from, maps = {}, 1, {}
  while from <= #told do
    local kind, name, size, begin = string.match(told, '^(%a) (%d+) (%d+)\n()', from)
    local about = begin + tonumber(name)
    from = about + tonumber(size)
    of[kind] = map_of(keys, at, string.sub(told, about, from - 1), string.sub(told, begin, about - 1))
    if not of[kind] then
      maps.doubt = redis.error_reply(DOUBT)
      return maps
    end
    at = at + MAP_KEYS
  end

  -- Of presence alone, so it goes with its other keys when nobody is left who could renew them.
  local function set(map, key, body)
    map_set(map, key, body, '', '', 0, false)
    if redis.call('HLEN', map.state) == 1 then
      for _, kept in ipairs({ map.state, map.index, map.bytes }) do
        redis.call('EXPIRE', kept, ttl)
      end
    end
  end

  function maps.entered(client, user, info, first)
    if of.c then
      set(of.c, client, '{"key":' .. map_text(client) .. ',"info":' .. info .. '}')
    end
    if of.u and first and user ~= '' then
      set(of.u, user, '{"key":' .. map_text(user) .. '}')
    end
  end

  -- Nobody else is present, so what others have set outlived them: nobody was left to remove it, not even for so long
  -- that their entries of presence expired.
  function maps.alone()
    if of.l then
      for _, owner in ipairs(redis.call('ZRANGE', of.l.owners, 0, MOST_ENDED - 1)) do
        map_remove(of.l, string.match(owner, '\n(.*)$'))
        redis.call('ZREM', of.l.owners, owner)
      end
    end
  end

  function maps.user_gone(user)
    if of.u and user ~= '' then
      map_remove(of.u, user)
    end
  end

  function maps.gone(client, user, last)
    if of.l then
      map_leave(of.l, client)
    end
    if of.c then
      map_remove(of.c, client)
    end
    if last then
      maps.user_gone(user)
    end
  end

  return maps
end

-- Write an entry, and tell the maps. Returns whether the client was absent, and whether it is the user's only connection.
local function put(entries, users, mine, incarnation, client, user, info, maps)
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
  local first = false
  if old_user ~= user then
    if old_user and count_down(users, old_user) and maps then
      maps.user_gone(old_user)
    end
    first = redis.call('HINCRBY', users, user, 1) == 1
  end
  if maps then
    maps.entered(client, user, info, first)
  end
  return not old, first
end

-- Remove an entry if it is this incarnation's, announce its leave, and append (client, user, info, last) to `removed`.
-- In the `mode` 'user' only a user's first join and last leave are announced; visitors ('') have no user, and each has
-- its own. `outbox`: where its events go, nil: nowhere; `cause`: of the end of a connection, for these. `maps`: that are
-- changed, nil: none.
local function drop(entries, users, mine, incarnation, client, topic, head, mode, outbox, cause, removed, maps)
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
  if maps then
    maps.gone(client, user, last)
  end
  if last or mode ~= 'user' or user == '' then
    announce_info(topic, head, info)
  end
  if outbox then
    outbox.gone(entries, incarnation, client, user, last, cause)
  end
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
-- `mode`, `outbox`, `maps`: as in `drop`.
local function add(entries, users, mine, fence, incarnation, generation, ttl, client, user, info, topic, head, most,
  mode, outbox, maps)
  local why = refused(fence, generation)
  if why then
    return { why, 0 }
  end
  if most > 0 and redis.call('HLEN', entries) >= most and redis.call('HEXISTS', entries, client) == 0 then
    return { -4, 0 }
  end
  local new, first = put(entries, users, mine, incarnation, client, user, info, maps)
  if maps and new and redis.call('HLEN', entries) == 1 then
    maps.alone()
  end
  if redis.call('SCARD', mine) == 1 or redis.call('HLEN', entries) == 1 then
    redis.call('EXPIRE', entries, ttl)
    redis.call('EXPIRE', users, ttl)
    redis.call('EXPIRE', mine, ttl)
  end
  if not new then
    return { 0, 0 }
  end
  if first or mode ~= 'user' or user == '' then
    announce_info(topic, head, info)
  end
  if outbox then
    outbox.entered(entries, incarnation, client, user, first)
  end
  return { 1, first and 1 or 0 }
end

