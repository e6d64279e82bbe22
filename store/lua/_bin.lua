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
