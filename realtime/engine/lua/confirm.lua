-- Proves that a process is subscribed to a channel's topic, and says how far the stream is.
-- Atomic, because what is announced after the nonce must be exactly what lies above the top it carries.
-- KEYS  1 meta  2 partition  3 made
-- ARGV  1 topic  2 head of the layer message with the nonce (ends with the key of the epoch)
--       3 history (0, 1)  4 meta ttl ms  5-6 two bits of `made`, by a hash of the channel
-- returns {epoch, top, count of the partition}, or the error DOUBT

local epoch, top, counted = '', 0, 0
if ARGV[3] == '1' then
  local generation, era
  generation, era, counted = partition_of(KEYS[2])
  if not generation then return redis.error_reply(DOUBT) end
  epoch, top = position(KEYS[1], KEYS[2], KEYS[3], generation, era, ARGV[4], ARGV[5], ARGV[6])
end
--[[ _announce.lua ]]
announce(ARGV[1], ARGV[2] .. cmsgpack.pack(epoch) .. '\161o' .. cmsgpack.pack(top))
return {epoch, top, counted}
