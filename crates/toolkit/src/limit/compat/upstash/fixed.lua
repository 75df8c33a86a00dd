-- Adds a hit to a window's count, and takes it back where the count is over the limit.
--
-- KEYS: the window's count. ARGV: limit; cost; milliseconds that the key has to live;
-- 'mend' where it may have no time to live.
-- Answers 1 or 0 for admitted, the count, and 0.
local MAX = 4503599627370496
local limit, cost = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = redis.call('INCRBY', KEYS[1], ARGV[2])
if count == cost or ARGV[4] == 'mend' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
local fits = count <= limit
if not fits then count = redis.call('DECRBY', KEYS[1], ARGV[2]) end
return { fits and 1 or 0, math.max(-MAX, math.min(MAX, count)), 0 }
