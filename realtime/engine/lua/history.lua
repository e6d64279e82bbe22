-- Reads a channel's history and its position.
-- Atomic, because publications and top must belong together.
-- KEYS  1 meta  2 stream
-- ARGV  1 fresh epoch  2 seen epoch  3 seen top  4 meta ttl ms
--       5 limit (0: position alone, -1: all)  6 since offset ('': from the end)  7 reverse (0, 1)
--       8 most bytes (0: no bound)  9 epoch of a client that claims to have seen `since` ('': no claim)
-- returns {epoch, top, overflow, offset, body, offset, body, …}; overflow is 1, without publications, over the bytes
-- A claim above the top proves that Redis came back older, unless this very run of Redis gave out the epoch: then the
-- claim is a lie, and believing it would let any client throw away everybody's position.

local epoch, top = position(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4])
local limit, since = tonumber(ARGV[5]), ARGV[6]
if ARGV[9] ~= '' and ARGV[9] == epoch and tonumber(since) > top and redis.call('HGET', KEYS[1], 'r') ~= run_id() then
  epoch, top = rotate(KEYS[1], KEYS[2], ARGV[1])
end

local answer = {epoch, top, 0}
if limit == 0 then return answer end
local entries
local count = limit > 0 and {'COUNT', text(limit)} or {}
if ARGV[7] == '1' and since == '0' then
  entries = {}  -- nothing is before the first; Redis knows no such range
elseif ARGV[7] == '1' then
  local from = since == '' and '+' or '(' .. since .. '-0'
  entries = redis.call('XREVRANGE', KEYS[2], from, '-', unpack(count))
else
  local from = since == '' and '-' or '(' .. since .. '-0'
  entries = redis.call('XRANGE', KEYS[2], from, '+', unpack(count))
end
local bytes, most = 0, tonumber(ARGV[8])
for _, entry in ipairs(entries) do
  local body = entry[2][2]
  bytes = bytes + #body
  if most > 0 and bytes > most then return {epoch, top, 1} end
  answer[#answer + 1] = string.match(entry[1], '^%d+')
  answer[#answer + 1] = body
end
return answer
