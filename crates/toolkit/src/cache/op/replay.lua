-- Sets a value unless a newer writing stands there.
--
-- KEYS: the value's. ARGV: the moment of the writing in microseconds and its writer; the
-- value; when it goes, as options of SET. Answers 1 where it set it, 0 where not.
local head = redis.call('GETRANGE', KEYS[1], 0, 16)

-- Big-endian. From 2^53 on it may be another number, but one from 2^53 on.
local function number(first, last)
  local n = 0
  for i = first, last do n = n * 256 + string.byte(head, i) end
  return n
end

if #head == 17 and string.sub(head, 1, 2) == 'c\1' then
  local time, writer = number(6, 13), number(14, 17)
  local ours, by = tonumber(ARGV[1]), tonumber(ARGV[2])
  local newer = time > ours or (time == ours and writer > by)
  if newer and time <= 9007199254740991 then return 0 end
end
redis.call('SET', KEYS[1], ARGV[3], unpack(ARGV, 4))
return 1
