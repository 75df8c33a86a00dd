-- Takes tokens of one counter ahead: as many as there are until the window, or twice
-- the burst, is used up, at least and at most so many; or none.
--
-- KEYS: the rule's. ARGV: the algorithm's letter, now in microseconds, its two
-- parameters, the least and the most. Answers what was granted, the moment until
-- which the identifier is blocked, and three numbers as they were before.
local rule = {
  key = KEYS[1], alg = ARGV[1], a = tonumber(ARGV[3]), b = tonumber(ARGV[4]),
  blocked = 0, rolled = false,
}
local least, most = tonumber(ARGV[5]), tonumber(ARGV[6])
read_counter(rule, redis.call('GET', rule.key) or '')

local f, a, b = rule.fields, rule.a, rule.b
local all
if rule.alg == 'f' then
  all = a - f[2]
elseif rule.alg == 's' then
  -- As of the window's last millisecond.
  all = math.floor((a * b - f[2]) / b) - f[3]
else
  all = math.floor((now + 2 * a * b - f[2]) / a)
end
local granted = math.min(math.max(all, 0), most)
if granted < least or rule.blocked > ms then granted = 0 end

local answer = { granted, rule.blocked, f[1], f[2], f[3] or 0 }
if granted > 0 then
  local last, weight = #f, granted
  if rule.alg == 'b' then weight = granted * a end
  f[last] = f[last] + weight
end
if granted > 0 or rule.clamped then write_counter(rule) end
return answer
