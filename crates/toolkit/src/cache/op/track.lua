-- Adds members to a set that lives as long as the longest of them.
--
-- KEYS: the set. ARGV: a time to live in milliseconds; the members. Answers how many
-- were added. A set that was there without a time to live stays without one.
local left = redis.call('PTTL', KEYS[1])
local added = redis.call('SADD', KEYS[1], unpack(ARGV, 2))
if left == -2 or (left ~= -1 and left < tonumber(ARGV[1])) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return added
