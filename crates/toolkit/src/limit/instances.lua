-- Who is alive: drops the instances that are over, adds, renews or removes this
-- one, and answers how many there are.
--
-- KEYS: the list. ARGV: beat or leave, now, until when an instance that beats now
-- lives (both in milliseconds since the epoch), the instance's id, the list's
-- largest length and milliseconds that the key has to live.
local key, word, id = KEYS[1], ARGV[1], ARGV[4]
local now, last = tonumber(ARGV[2]), tonumber(ARGV[3])
local value = redis.call('GET', key) or ''

local kept, count = {}, 0
local function keep(name, moment)
  count = count + 1
  kept[count] = name .. ':' .. string.format('%.0f', moment) .. ','
end

local at, size = 2, #value
if string.sub(value, 1, 1) ~= 'i' then size = 0 end
local known = false
while at <= size do
  local name, moment, behind = string.match(value, '^([0-9a-f]+):(%d+),()', at)
  if not name or #name ~= 16 or #moment > 15 then break end
  at = behind
  -- A clock that was ahead makes nobody live longer than others.
  moment = math.min(tonumber(moment), last)
  if name == id then
    known = true
  elseif moment > now then
    keep(name, moment)
  end
end

local alive = count
if word == 'beat' then
  alive = count + 1
  if known or count < tonumber(ARGV[5]) then keep(id, last) end
end
if count == 0 then
  redis.call('DEL', key)
else
  redis.call('SET', key, 'i' .. table.concat(kept), 'PX', ARGV[6])
end
return alive
