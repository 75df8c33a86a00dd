-- Takes a hit out of a bucket that gets `rate` tokens at the end of each interval.
--
-- KEYS: the bucket. ARGV: how much it holds; the interval in milliseconds; the rate; now
-- in milliseconds; cost.
-- Answers 1 or 0 for admitted, when the bucket was refilled last, and its tokens.
local MAX = 9007199254740991
local most, interval, rate = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now, cost = tonumber(ARGV[4]), tonumber(ARGV[5])

local function number(value)
  if value and string.find(value, '^%-?%d[%d%.e%+%-]*$') then
    local n = tonumber(value)
    if n and n <= MAX and n >= -MAX then return n end
  end
end

local function text(n) return string.format('%.17g', n) end

local fields = redis.call('HMGET', KEYS[1], 'refilledAt', 'tokens')
local refilled, tokens = now, most
if fields[1] then
  refilled, tokens = number(fields[1]), number(fields[2])
  if not refilled or not tokens then return redis.error_reply('ERR hash value is not a float') end
end
if now >= refilled + interval then
  local refills = math.floor((now - refilled) / interval)
  tokens = math.min(most, tokens + refills * rate)
  refilled = refilled + refills * interval
end
local fits = tokens >= cost
if fits then
  tokens = tokens - cost
  redis.call('HSET', KEYS[1], 'refilledAt', text(refilled), 'tokens', text(tokens))
  local turns = math.max(1, math.ceil((most - tokens) / rate))
  local left = math.ceil(turns * interval + math.max(refilled - now, 0))
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
end
return { fits and 1 or 0, text(refilled), text(tokens) }
