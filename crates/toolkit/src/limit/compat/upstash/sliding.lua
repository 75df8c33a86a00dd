-- Adds a hit to this window's count, where it and what still weighs of the window before
-- leave room.
--
-- KEYS: this window's count, the count before. ARGV: limit; now in milliseconds; the
-- window; cost; milliseconds that the key has to live.
-- Answers 1 or 0 for admitted, the former count and this one.
local MAX = 4503599627370496

local function count(value)
  if not value then return 0 end
  if #value <= 17 and (value == '0' or string.find(value, '^%-?[1-9]%d*$')) then
    local n = tonumber(value)
    if n <= MAX and n >= -MAX then return n end
  end
end

local values = redis.call('MGET', KEYS[1], KEYS[2])
local current, previous = count(values[1]), count(values[2])
if not current or not previous then
  return redis.error_reply('ERR value is not an integer or out of range')
end
local limit, now, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local weighed = math.floor((1 - (now % window) / window) * previous)
local fits = weighed + current + cost <= limit
if fits then
  if redis.call('INCRBY', KEYS[1], ARGV[4]) == cost then redis.call('PEXPIRE', KEYS[1], ARGV[5]) end
  current = current + cost
end
return { fits and 1 or 0, previous, current }
