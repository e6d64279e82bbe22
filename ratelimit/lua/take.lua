-- Asks several policies at once and takes from all of them or from none; the only place where a limit is decided.
--
-- KEYS   one per policy; after them, for proofs, a list that gets the stamp of every request admitted
-- ARGV   number of policies, then seven for each: kind ('g' GCRA, 's' strict), cost, shadow (1: never stands in the way),
--        and g: interval in ticks of 1/16 µs, burst, 0 | s: period in µs, count, grain in µs
--        and what was admitted while Redis was away and is entered first, whatever is decided: g: ticks | s: requests
-- returns {stamp in µs of Redis's clock, then four for each policy: allowed, remaining, retry after in µs, reset in µs}
--
-- Atomic because others decide on the same keys, and because a request that one policy denies must cost nothing in the
-- others. The arithmetic is that of gcra.py and window.py. A GCRA key is one integer, which Redis keeps without a
-- string of its own; a strict key is its total (4 bytes), then a start (8) and a count (4) for each entry of its log.
local TICKS = 16
local EPOCH = 1767225600 -- 2026: ticks since then fit a double exactly for 17 years, and to 1/8 µs after that
local ENTRY = 12

local time = redis.call('TIME')
local now = (time[1] - EPOCH) * 1000000 + time[2]

local function us(ticks)
  return math.ceil(ticks / TICKS)
end

-- Redis looks whether its memory is full at a script's first write alone, and lets pass one that cannot grow. Limits are
-- small and short-lived, and nobody is to be let through or kept out for want of memory: refused, begin with such a one.
local function set(key, value, lasts)
  if redis.pcall('SET', key, value, 'PX', lasts).err then
    redis.call('PEXPIRE', key, lasts)
    redis.call('SET', key, value, 'PX', lasts)
  end
end

local function look_gcra(key, cost, debt, interval, burst)
  local full = interval * burst
  local paid_until = tonumber(redis.call('GET', key) or 0)
  local ahead = math.min(math.max(paid_until - now * TICKS, 0) + debt, full)
  local function keep(ticks)
    set(key, string.format('%.0f', now * TICKS + ticks), math.ceil(us(ticks) / 1000) + 1)
  end
  if debt > 0 then
    keep(ahead)
  end
  local after = ahead + cost * interval
  if after > full then
    return {false, math.floor((full - ahead) / interval), us(after - full), us(ahead)}
  end
  return {true, math.floor((full - after) / interval), 0, us(after)}, function()
    keep(after)
  end
end

-- The clock was set back: the log goes with it.
local function shifted(log, by)
  local parts = {string.sub(log, 1, 4)}
  for place = 5, #log, ENTRY do
    local start, count = struct.unpack('>dI4', log, place)
    table.insert(parts, struct.pack('>dI4', start - by, count))
  end
  return table.concat(parts)
end

-- The log without what has left the window, with so many more that were admitted now; and the newest start in it.
local function entered(log, first, total, newest, count, grain)
  local tail = string.sub(log, first)
  local merged = #tail > 0 and (now < newest + grain or now == newest)
  local start, last = merged and newest or now, count
  if merged then
    last = count + struct.unpack('>I4', tail, #tail - 3)
    tail = string.sub(tail, 1, #tail - ENTRY)
  end
  return struct.pack('>I4', total + count) .. tail .. struct.pack('>dI4', start, last), start
end

local function look_strict(key, cost, debt, period, most, grain)
  local lasts = grain + period
  local log = redis.call('GET', key) or struct.pack('>I4', 0)
  local total, first, newest = struct.unpack('>I4', log), 5, nil
  local function keep(value)
    set(key, value, math.ceil(lasts / 1000) + 1)
  end
  if #log > 4 then
    newest = struct.unpack('>d', log, #log - ENTRY + 1)
    if newest > now then
      log, newest = shifted(log, newest - now), now
    end
  end
  while first <= #log do
    local start, count = struct.unpack('>dI4', log, first)
    if start + lasts >= now then
      break
    end
    total, first = total - count, first + ENTRY
  end
  debt = math.min(debt, most - total)
  if debt > 0 then
    log, newest = entered(log, first, total, newest, debt, grain)
    total, first = total + debt, 5
    keep(log)
  end
  if total + cost > most then
    local wanted, retry = total + cost, period
    for place = first, #log, ENTRY do
      local start, count = struct.unpack('>dI4', log, place)
      wanted = wanted - count
      if wanted <= most then
        retry = start + lasts + 1 - now
        break
      end
    end
    return {false, most - total, retry, first <= #log and newest + lasts + 1 - now or 0}
  end
  local value, start = entered(log, first, total, newest, cost, grain)
  return {true, most - total - cost, 0, start + lasts + 1 - now}, function()
    keep(value)
  end
end

local policies = tonumber(ARGV[1])
local answers, commits, admitted = {now + EPOCH * 1000000}, {}, true
for number = 1, policies do
  local place = 2 + (number - 1) * 7
  local cost, debt = tonumber(ARGV[place + 1]), tonumber(ARGV[place + 6])
  local a, b, c = tonumber(ARGV[place + 3]), tonumber(ARGV[place + 4]), tonumber(ARGV[place + 5])
  local look = ARGV[place] == 'g' and look_gcra or look_strict
  local answer, commit = look(KEYS[number], cost, debt, a, b, c)
  if commit then
    table.insert(commits, commit)
  elseif ARGV[place + 2] ~= '1' then
    admitted = false
  end
  table.insert(answers, answer[1] and 1 or 0)
  for field = 2, 4 do
    table.insert(answers, answer[field])
  end
end
if admitted then
  for _, commit in ipairs(commits) do
    commit()
  end
  if KEYS[policies + 1] then
    redis.call('RPUSH', KEYS[policies + 1], string.format('%.0f', answers[1]))
  end
end
return answers
