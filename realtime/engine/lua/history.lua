-- Reads a channel's history and its position.
-- Atomic, because publications and top must belong together.
-- KEYS  1 meta  2 stream  3 partition  4 made
-- ARGV  1 meta ttl ms  2 limit (0: position alone, -1: all)  3 since offset ('': from the end)  4 reverse (0, 1)
--       5 most bytes (0: no bound)  6 whole (0, 1): all or nothing at that bound, else as much as fits
--       7-8 two bits of `made`, by a hash of the channel  9 history size (0: whatever is there)
-- returns {epoch, top, overflow, count of the partition, offset, body, offset, body, …}, or the error DOUBT
-- Of the stream only the newest `history size` count: it is trimmed a little late (`publish.lua`).
-- It is read in parts, a few entries and then more and more: what is beyond the bytes is not read, or a long stream of
-- large publications would take all of Redis's time and memory.
-- overflow is 1 where there is more than the bytes allow. One publication is given even if it is larger, or nobody
-- would ever get past it.

local generation, era, counted = partition_of(KEYS[3])
if not generation then return redis.error_reply(DOUBT) end
local epoch, top = position(KEYS[1], KEYS[3], KEYS[4], generation, era, ARGV[1], ARGV[7], ARGV[8])

local FIRST, MOST = 32, 512  -- entries of a part
local answer = {epoch, top, 0, counted}
local limit, since, backward, size = tonumber(ARGV[2]), ARGV[3], ARGV[4] == '1', tonumber(ARGV[9])
if limit == 0 or top == 0 then return answer end
if backward and since == '0' then return answer end  -- nothing is before the first; Redis knows no such range

local gone = size > 0 and math.max(0, top - size) or 0  -- the newest offset that does not count any more
local low, high = text(gone) .. '-0', '+'
if since ~= '' and backward then
  high = '(' .. since .. '-0'
elseif since ~= '' and tonumber(since) > gone then
  low = since .. '-0'
end

local bytes, most = 0, tonumber(ARGV[5])
local left, part = limit > 0 and limit or math.huge, FIRST
while left > 0 do
  local asked, entries = math.min(part, left), nil
  if backward then
    entries = redis.call('XREVRANGE', KEYS[2], high, '(' .. low, 'COUNT', text(asked))
  else
    entries = redis.call('XRANGE', KEYS[2], '(' .. low, high, 'COUNT', text(asked))
  end
  for _, entry in ipairs(entries) do
    local body = entry[2][2]
    bytes = bytes + #body
    if most > 0 and bytes > most and #answer > 4 then
      if ARGV[6] == '1' then return {epoch, top, 1, counted} end
      answer[3] = 1
      return answer
    end
    answer[#answer + 1] = string.match(entry[1], '^%d+')
    answer[#answer + 1] = body
  end
  if #entries < asked then return answer end
  if backward then high = '(' .. entries[asked][1] else low = entries[asked][1] end
  left, part = left - asked, math.min(2 * part, MOST)
end
return answer
