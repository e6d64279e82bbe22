-- Proves that a process's subscription to a channel's topic is in force, and tells where the stream stands.
-- Atomic, because what is announced after the nonce must be exactly what lies above the top it carries.
-- KEYS  1 meta  2 stream
-- ARGV  1 topic  2 head of the layer message with the nonce (ends with the key of the epoch)
--       3 history (0, 1)  4 fresh epoch  5 seen epoch  6 seen top  7 meta ttl ms
-- returns {epoch, top}

local epoch, top = '', 0
if ARGV[3] == '1' then
  epoch, top = position(KEYS[1], KEYS[2], ARGV[4], ARGV[5], ARGV[6], ARGV[7])
end
redis.call('PUBLISH', ARGV[1], ARGV[2] .. cmsgpack.pack(epoch) .. '\161o' .. cmsgpack.pack(top))
return {epoch, top}
