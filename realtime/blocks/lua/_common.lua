-- In front of every script of this folder.

-- A number as Redis takes it in full: Lua's own way gives 14 digits.
local function text(number)
  return string.format('%.0f', number)
end

