-- What both scripts know of states: reading them, bringing them to now, writing them.
local now = tonumber(ARGV[2])
local ms = math.floor(now / 1000)
local MAX = 4503599627370495
local SLACK = 1000
-- Fields of a counter before the one that grows, and where that one begins.
local BEFORE = { f = 1, s = 2, b = 1 }

local function text(n) return string.format('%.0f', n) end

local function be(n)
  local h = n % 256; n = (n - h) / 256
  local g = n % 256; n = (n - g) / 256
  local f = n % 256; n = (n - f) / 256
  local e = n % 256; n = (n - e) / 256
  local d = n % 256; n = (n - d) / 256
  local c = n % 256; n = (n - c) / 256
  local b = n % 256; n = (n - b) / 256
  return string.char(n % 256, b, c, d, e, f, g, h)
end

local function pack_state(rule)
  local value = rule.alg .. be(rule.blocked)
  for _, field in ipairs(rule.fields) do value = value .. be(field) end
  return value
end

-- Reads a counter out of a value.
local function unpack_state(value, count)
  local numbers = {}
  for at = 0, count do
    local n = 0
    for byte = at * 8 + 2, at * 8 + 9 do n = n * 256 + (string.byte(value, byte) or 0) end
    numbers[at + 1] = n
  end
  return numbers
end

local function sane(rule)
  local top = MAX
  if rule.alg == 's' then top = math.floor(MAX / rule.b) end
  for _, field in ipairs(rule.fields) do
    if field < 0 or field > top then return false end
  end
  return rule.blocked >= 0 and rule.blocked <= MAX
end

-- Brings what only a clock that was ahead can have written back to now; whether it
-- did. What was counted stays.
local function clamp(rule)
  local f, b = rule.fields, rule.b
  if rule.alg == 'f' then
    if f[1] <= ms + SLACK then return false end
    rule.fields = { ms, f[2] }
  elseif rule.alg == 's' then
    if f[1] * b <= ms + SLACK then return false end
    rule.fields = { math.floor(ms / b), 0, math.min(f[2] + f[3], math.floor(MAX / b)) }
  else
    local most = now + 2 * rule.a * b
    if f[2] <= most + SLACK * 1000 then return false end
    rule.fields = { 0, most }
  end
  rule.rolled, rule.clamped = true, true
  return true
end

-- Brings a counter to now.
local function roll(rule)
  if not rule.fresh and clamp(rule) then return end
  local f, b = rule.fields, rule.b
  if rule.alg == 'f' then
    if rule.fresh or ms >= f[1] + b then rule.fields, rule.rolled = { ms, 0 }, true end
  elseif rule.alg == 's' then
    local window = math.floor(ms / b)
    if rule.fresh or window > f[1] + 1 then
      rule.fields, rule.rolled = { window, 0, 0 }, true
    elseif window == f[1] + 1 then
      rule.fields, rule.rolled = { window, f[3], 0 }, true
    end
  elseif rule.fresh or f[2] < now then
    -- A key that lives long enough keeps its time.
    local kept = f[1]
    if rule.fresh or rule.guessed then kept = 0 end
    rule.fields, rule.rolled = { kept, now }, true
  end
end

-- Lets a bucket's key live as long as it has to, and says for how long.
local function lifetime(rule)
  if rule.alg == 'f' then return rule.fields[1] + rule.b - ms + SLACK end
  if rule.alg == 's' then return 2 * rule.b + SLACK end
  local kept, arrival = rule.fields[1], rule.fields[2]
  if arrival > kept * 1000 then
    local depth = math.floor(rule.a * rule.b / 1000) + 1
    kept = math.max(ms + 2 * depth, math.floor(arrival / 1000) + 1)
    rule.fields[1], rule.rolled, rule.outlives = kept, true, true
  end
  return math.max(kept - ms, 0) + SLACK
end

-- Writes a counter as it is now, with a time to live of its own.
local function write_counter(rule)
  local ttl = math.max(lifetime(rule), rule.blocked - ms + SLACK)
  redis.call('SET', rule.key, pack_state(rule), 'PX', text(ttl))
end

-- Reads the entries that still count.
local function read_list(rule, value)
  local permits = rule.alg == 'c'
  local span = permits and 0 or rule.b * 1000
  local blocked, list = string.match(value, '^' .. rule.alg .. '(%d+);(.*)$')
  rule.entries, rule.blocked = {}, tonumber(blocked or 0)
  if rule.blocked > MAX then rule.blocked, list = 0, '' end
  local used, held, entries = 0, 0, {}
  local form = permits and '^([^:,]*):(%d+):(%d+),()' or '^()(%d+):(%d+),()'
  list = list or ''
  -- Of a clock that was ahead is what begins later than now.
  local latest = permits and now + rule.b * 1000 or now
  local furthest = latest + SLACK * 1000
  -- Where the entries begin that count, while those before are all that do not.
  local at, size, first = 1, #list, 1
  while at <= size do
    local id, moment, cost, behind = string.match(list, form, at)
    moment, cost = tonumber(moment or MAX + 1), tonumber(cost or 0)
    if moment > MAX or cost > MAX then
      rule.blocked, list, used, held, entries = 0, '', 0, 0, {}
      rule.clamped = false
      break
    end
    if moment > furthest then moment, rule.clamped = latest, true end
    if moment + span > now then
      entries[#entries + 1] = { permits and id or '', moment, cost }
      used = used + cost
      if permits and rule.word ~= '' and id == rule.word then rule.holds, held = true, held + cost end
    elseif #entries == 0 then
      first = behind
    else
      first = nil
    end
    at = behind
  end
  rule.entries, rule.used = entries, used - held
  -- The entries as they were read, where they would be written the same.
  local odd = string.find(list, permits and ':0%d' or '[:,]0%d') or string.find(list, '^0%d')
  if first and not odd and not rule.clamped then rule.read = string.sub(list, first) end
end

local function head_of(rule) return rule.alg .. text(rule.blocked) .. ';' end

local function entry_of(rule, entry)
  local value = text(entry[2]) .. ':' .. text(entry[3]) .. ','
  if rule.alg == 'c' then value = entry[1] .. ':' .. value end
  return value
end

local function list_of(rule)
  local parts = {}
  for at, entry in ipairs(rule.entries) do parts[at] = entry_of(rule, entry) end
  return head_of(rule) .. table.concat(parts)
end

-- Milliseconds that a list written now has to live.
local function list_lifetime(rule)
  local last, span = 0, rule.alg == 'c' and 0 or rule.b * 1000
  for _, entry in ipairs(rule.entries) do
    if entry[2] + span > last then last = entry[2] + span end
  end
  local left = 0
  if last > 0 then left = math.floor(math.max(last - now, 0) / 1000) + 1 end
  return math.max(left, rule.blocked - ms) + SLACK
end

-- Reads the counter that a value holds, an empty one where it holds none, and brings
-- it to now.
local function read_counter(rule, value)
  local numbers = unpack_state(value, BEFORE[rule.alg] + 1)
  rule.fresh = string.sub(value, 1, 1) ~= rule.alg
  rule.blocked, rule.fields = numbers[1], {}
  for at = 2, #numbers do rule.fields[at - 1] = numbers[at] end
  if not rule.fresh and not sane(rule) then rule.fresh = true end
  if rule.fresh then rule.blocked = 0 end
  roll(rule)
end
