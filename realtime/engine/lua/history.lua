-- Reads a channel's history and its position.
-- Atomic, because publications and top must belong together.
-- KEYS  1 meta  2 stream  3 partition  4 made
-- ARGV  1 meta ttl ms  2 limit (0: position alone, -1: all)  3 since offset ('': from the end)  4 reverse (0, 1)
--       5 most bytes (0: no bound)  6 whole (0, 1): all or nothing at that bound, else as much as fits
--       7-8 two bits of `made`, by a hash of the channel  9 history size (0: whatever is there)
-- returns {epoch, top, overflow, count of the partition, offset, body, offset, body, …}, or the error DOUBT
-- Of the stream only the newest `history size` count: it is trimmed a little late (`publish.lua`).
-- overflow is 1 where there is more than the bytes allow. One publication is given even if it is larger, or nobody
-- would ever get past it.

local generation, era, counted = partition_of(KEYS[3])
if not generation then return redis.error_reply(DOUBT) end
local epoch, top = position(KEYS[1], KEYS[3], KEYS[4], generation, era, ARGV[1], ARGV[7], ARGV[8])

local answer = {epoch, top, 0, counted}
local limit, since, size = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[9])
if limit == 0 or top == 0 then return answer end
local entries
local gone = size > 0 and math.max(0, top - size) or 0  -- the newest offset that does not count any more
local count = limit > 0 and {'COUNT', text(limit)} or {}
if ARGV[4] == '1' and since == '0' then
  entries = {}  -- nothing is before the first; Redis knows no such range
elseif ARGV[4] == '1' then
  local from = since == '' and '+' or '(' .. since .. '-0'
  entries = redis.call('XREVRANGE', KEYS[2], from, '(' .. text(gone) .. '-0', unpack(count))
else
  local from = since ~= '' and tonumber(since) > gone and since or text(gone)
  entries = redis.call('XRANGE', KEYS[2], '(' .. from .. '-0', '+', unpack(count))
end
local bytes, most = 0, tonumber(ARGV[5])
for i, entry in ipairs(entries) do
  local body = entry[2][2]
  bytes = bytes + #body
  if most > 0 and bytes > most and i > 1 then
    if ARGV[6] == '1' then return {epoch, top, 1, counted} end
    answer[3] = 1
    return answer
  end
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = body
end
return answer
