-- What most checks are, one rule that admits a hit of a counter: answered before
-- anything else is defined, as the rest of the script would. All other outcomes go
-- on there with what was found here: `ahead` is the reply that it would ask for.
local ahead
if #KEYS == 1 and ARGV[1] == 'take' and ARGV[6] ~= '0' then
  local MAX = 4503599627370495
  local alg, now = ARGV[3], tonumber(ARGV[2])
  local ms = (now - now % 1000) / 1000
  local a, b, cost = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
  if alg == 'b' and ARGV[7] == 'idle' then
    if cost == 1 then
      local arrival, depth = now + a, a * b
      depth = (depth - depth % 1000) / 1000 + 1
      local kept = ms + 2 * depth
      local least = (arrival - arrival % 1000) / 1000 + 1
      if least > kept then kept = least end
      local function be(n)
        local h = n % 256; n = (n - h) / 256
        local g = n % 256; n = (n - g) / 256
        local f = n % 256; n = (n - f) / 256
        local e = n % 256; n = (n - e) / 256
        local d = n % 256; n = (n - d) / 256
        local c = n % 256; n = (n - c) / 256
        return string.char(0, n, c, d, e, f, g, h)
      end
      local value = 'b\0\0\0\0\0\0\0\0' .. be(kept) .. be(arrival)
      local ttl = string.format('%.0f', kept - ms + 1000)
      ahead = redis.pcall('SET', KEYS[1], value, 'PX', ttl, 'GET')
      if not ahead then return { 1, 1, 0, 0, now, 0 } end
      if type(ahead) == 'string' and string.sub(ahead, 1, 9) == 'b\0\0\0\0\0\0\0\0' then
        local o, p, q, r, s, t, u, v = string.byte(ahead, 18, 25)
        if v and ((((((o * 256 + p) * 256 + q) * 256 + r) * 256 + s) * 256 + t) * 256 + u) * 256 + v < now then
          return { 1, 1, 0, 0, now, 0 }
        end
      end
    end
  elseif alg == 'f' then
    ahead = redis.pcall('BITFIELD', KEYS[1], 'GET', 'u8', '0', 'GET', 'i64', '8',
      'GET', 'i64', '72', 'INCRBY', 'i64', '136', ARGV[6])
    local start, count = ahead[3], ahead[4]
    if ahead[1] == 102 and ahead[2] == 0 and start >= 0 and start <= ms and ms < start + b
      and count >= cost and count <= a then
      return { 1, 1, 0, start, count - cost, 0 }
    end
  elseif alg == 's' then
    ahead = redis.pcall('BITFIELD', KEYS[1], 'GET', 'u8', '0', 'GET', 'i64', '8',
      'GET', 'i64', '72', 'GET', 'i64', '136', 'INCRBY', 'i64', '200', ARGV[6])
    local index, former, count = ahead[3], ahead[4], ahead[5]
    if ahead[1] == 115 and ahead[2] == 0 and index == (ms - ms % b) / b and former >= 0
      and former <= a and count >= cost and former * (b - ms % b) <= (a - count) * b then
      return { 1, 1, 0, index, former, count - cost }
    end
  elseif alg == 'b' and cost == 1 then
    ahead = redis.pcall('BITFIELD', KEYS[1], 'GET', 'u8', '0', 'GET', 'i64', '8',
      'GET', 'i64', '72', 'INCRBY', 'i64', '136', ARGV[4])
    local kept, arrival = ahead[3], ahead[4]
    if ahead[1] == 98 and ahead[2] == 0 and arrival - a >= now and arrival - a <= MAX and arrival <= now + a * b
      and kept >= 0 and kept <= MAX and arrival <= kept * 1000 then
      return { 1, 1, 0, kept, arrival - a, 0 }
    end
  end
end
