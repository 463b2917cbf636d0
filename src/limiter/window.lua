-- The arithmetic of core/window.rs, for all windows of one key at once: all are charged or none.
--
-- KEYS: one for each window. ARGV: the time in milliseconds, or an empty text for this server's own; the cost; how many
-- charges are remembered at most; then for each window its quota, its length and its grain in milliseconds.
-- Answers 1 or 0 for charged or refused, then for each window what remains, until when it is reset, and the wait.
--
-- A window is kept as the sum of its charges, then the time and the cost of each, oldest first, eight bytes a number.
local pack, unpack, floor = struct.pack, struct.unpack, math.floor
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local cost, most = tonumber(ARGV[2]), tonumber(ARGV[3])

-- A clock that went back takes no time back: the charges move with it.
local function follow_clock_back(charges)
  if #charges == 0 then return charges, false end
  local ahead = unpack('<d', charges, #charges - 15) - now
  if ahead <= 0 then return charges, false end
  local moved = {}
  for place = 1, #charges, 16 do
    local at, charged = unpack('<dd', charges, place)
    moved[#moved + 1] = pack('<dd', math.max(at - ahead, 0), charged)
  end
  return table.concat(moved), true
end

local function advanced(key, length)
  local kept = redis.call('GET', key)
  if not kept then return 0, '', false end
  local sum, place = unpack('<d', kept), 1
  local charges, moved = follow_clock_back(string.sub(kept, 9))
  while place < #charges do
    local at, charged = unpack('<dd', charges, place)
    if now - at < length then break end
    sum, place = sum - charged, place + 16
  end
  return sum, string.sub(charges, place), moved
end

local function keep(window)
  redis.call('SET', window.key, pack('<d', window.sum) .. window.charges, 'PX', window.length)
end

local function charge(window)
  local charges, at, charged = window.charges, nil, nil
  if #charges > 0 then at, charged = unpack('<dd', charges, #charges - 15) end
  local full = #charges == most * 16
  if at and (full or floor(at / window.grain) == floor(now / window.grain)) then
    window.charges = string.sub(charges, 1, #charges - 16) .. pack('<dd', now, charged + cost)
  else
    window.charges = charges .. pack('<dd', now, cost)
  end
  window.sum = window.sum + cost
  keep(window)
end

local function wait(window)
  local sum = window.sum + cost
  if sum <= window.quota then return 0 end
  for place = 1, #window.charges, 16 do
    local at, charged = unpack('<dd', window.charges, place)
    sum = sum - charged
    if sum <= window.quota then return math.max(at + window.length - now, 0) end
  end
  return window.length
end

local windows, fits = {}, true
for number, key in ipairs(KEYS) do
  local first = 1 + number * 3
  local quota, length, grain = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), tonumber(ARGV[first + 2])
  local sum, charges, moved = advanced(key, length)
  windows[number] = {
    key = key, quota = quota, length = length, grain = grain, sum = sum, charges = charges, moved = moved,
  }
  fits = fits and sum + cost <= quota
end

local answer = { fits and 1 or 0 }
for _, window in ipairs(windows) do
  if fits then charge(window) elseif window.moved then keep(window) end
  local reset = 0
  if #window.charges > 0 then
    reset = math.max(unpack('<d', window.charges, #window.charges - 15) + window.length - now, 0)
  end
  answer[#answer + 1] = math.max(window.quota - window.sum, 0)
  answer[#answer + 1] = reset
  answer[#answer + 1] = fits and 0 or wait(window)
end
return answer
