-- Sets a value where the writing that was seen still stands.
--
-- KEYS: the value's. ARGV: the first 17 bytes of what was seen, empty for no key; the
-- value; when it goes, as options of SET. Answers 1 where it set it, 0 where not.
if redis.call('GETRANGE', KEYS[1], 0, 16) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], unpack(ARGV, 3))
return 1
