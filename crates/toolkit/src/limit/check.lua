-- Checks a hit against several rules, and takes it from all of them or from none.
--
-- KEYS: one a rule. ARGV: 'take' or 'peek'; now in microseconds; then for each rule
-- its algorithm's letter, its two parameters, the cost, and a word: 'idle' where a
-- bucket is likely to be full, the id of a permit, or nothing.
-- Answers 1 or 0 for admitted, then for each rule whether it fits, the moment until
-- which it is blocked and three numbers as they were before the hit; for lists the
-- value instead.
--
-- A counter is read and increased in one command. What was increased in vain is
-- taken back: a refused hit leaves every key as it was.
local take = ARGV[1] == 'take'
local now = tonumber(ARGV[2])
local ms = math.floor(now / 1000)
local MAX = 4503599627370495
local SLACK = 1000
-- Fields of a counter before the one that grows, and where that one begins.
local BEFORE = { f = 1, s = 2, b = 1 }

local function text(n) return string.format('%.0f', n) end

local function be(n)
  local bytes = {}
  for at = 8, 1, -1 do
    bytes[at] = n % 256
    n = math.floor(n / 256)
  end
  return string.char(unpack(bytes))
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

-- Brings a counter to now, and says whether the hit fits.
local function judge(rule)
  local f, a, b = rule.fields, rule.a, rule.b
  if rule.alg == 'f' then
    if rule.fresh or ms >= f[1] + b then
      rule.fields, rule.rolled = { ms, 0 }, true
      f = rule.fields
    end
    rule.fits = f[2] + rule.cost <= a
  elseif rule.alg == 's' then
    local window = math.floor(ms / b)
    if rule.fresh or window > f[1] + 1 then
      rule.fields, rule.rolled = { window, 0, 0 }, true
    elseif window == f[1] + 1 then
      rule.fields, rule.rolled = { window, f[3], 0 }, true
    end
    f = rule.fields
    local left = b - math.max(ms - f[1] * b, 0)
    rule.fits = f[2] * left <= (a - f[3] - rule.cost) * b
  else
    if rule.fresh or f[2] < now then
      rule.fields, rule.rolled = { 0, now }, true
      f = rule.fields
    end
    rule.fits = rule.cost <= b and f[2] + rule.cost * a <= now + a * b
  end
  if rule.blocked > ms then rule.fits = false end
end

local function take_back(rule)
  if rule.guessed then
    if rule.old then
      local kept = rule.before[1] - ms
      redis.call('SET', rule.key, rule.old, 'PX', text(math.max(kept, 0) + SLACK))
    else
      redis.call('DEL', rule.key)
    end
  elseif rule.grown then
    if rule.fresh then
      redis.call('DEL', rule.key)
    else
      redis.call('BITFIELD', rule.key, 'INCRBY', 'i64', rule.at, text(-rule.weight))
    end
  end
end

-- Writes a counter whose numbers changed by more than the hit.
local function settle_counter(rule)
  if rule.weight == 0 then return end
  local last = #rule.fields
  rule.fields[last] = rule.fields[last] + rule.weight
  local ttl
  if rule.alg == 'b' then
    local kept, arrival = rule.fields[1], rule.fields[2]
    if arrival > kept * 1000 then
      local depth = math.floor(rule.a * rule.b / 1000) + 1
      kept = math.max(ms + 2 * depth, math.floor(arrival / 1000) + 1)
      rule.fields[1], rule.rolled = kept, true
    end
    ttl = math.max(kept - ms, 0) + SLACK
  elseif rule.alg == 'f' then
    ttl = rule.fields[1] + rule.b - ms + SLACK
  else
    ttl = 2 * rule.b + SLACK
  end
  if rule.guessed and rule.rolled and rule.blocked == 0 then return end
  if rule.rolled or rule.guessed then
    ttl = math.max(ttl, rule.blocked - ms + SLACK)
    redis.call('SET', rule.key, pack_state(rule), 'PX', text(ttl))
  end
end

-- Reads the entries that still count, and says whether the hit fits.
local function read_list(rule, value)
  local permits = rule.alg == 'c'
  local span = permits and 0 or rule.b * 1000
  local blocked, list = string.match(value, '^' .. rule.alg .. '(%d+);(.*)$')
  rule.entries, rule.blocked = {}, tonumber(blocked or 0)
  if rule.blocked > MAX then rule.blocked, list = 0, '' end
  local used, held, read = 0, 0, 0
  local form = permits and '^(([^:,]*):(%d+):(%d+),)' or '^(()(%d+):(%d+),)'
  local rest = list or ''
  while rest ~= '' do
    local all, id, moment, cost = string.match(rest, form)
    moment, cost = tonumber(moment or MAX + 1), tonumber(cost or 0)
    if moment > MAX or cost > MAX then
      rule.entries, rule.blocked, used, held = {}, 0, 0, 0
      break
    end
    rest = string.sub(rest, #all + 1)
    if moment + span > now then
      rule.entries[#rule.entries + 1] = { permits and id or '', moment, cost }
      used = used + cost
      if permits and rule.word ~= '' and id == rule.word then held = held + cost end
    end
  end
  rule.fits = used - held + rule.cost <= rule.a and rule.blocked <= ms
end

local function list_of(rule)
  local value = rule.alg .. text(rule.blocked) .. ';'
  for _, entry in ipairs(rule.entries) do
    if rule.alg == 'c' then value = value .. entry[1] .. ':' end
    value = value .. text(entry[2]) .. ':' .. text(entry[3]) .. ','
  end
  return value
end

-- Adds the hit to a list, in the place of a permit with its id.
local function settle_list(rule)
  if rule.cost == 0 then return end
  local kept = {}
  for _, entry in ipairs(rule.entries) do
    if rule.alg == 'l' or entry[1] ~= rule.word then kept[#kept + 1] = entry end
  end
  local moment = now
  if rule.alg == 'c' then moment = now + rule.b * 1000 end
  kept[#kept + 1] = { rule.word, moment, rule.cost }
  rule.entries = kept
  local last, span = 0, rule.alg == 'c' and 0 or rule.b * 1000
  for _, entry in ipairs(kept) do last = math.max(last, entry[2] + span) end
  local ttl = math.floor(math.max(last - now, 0) / 1000) + 1
  ttl = math.max(ttl, rule.blocked - ms) + SLACK
  redis.call('SET', rule.key, list_of(rule), 'PX', text(ttl))
end

local rules = {}
local admitted = true

local function give_up(reply)
  for _, rule in ipairs(rules) do take_back(rule) end
  return reply
end

for i, key in ipairs(KEYS) do
  local o = 2 + (i - 1) * 5
  local rule = {
    key = key, alg = ARGV[o + 1], a = tonumber(ARGV[o + 2]), b = tonumber(ARGV[o + 3]),
    cost = tonumber(ARGV[o + 4]), word = ARGV[o + 5], blocked = 0, rolled = false,
  }
  local before = BEFORE[rule.alg]
  if before then
    rule.weight = rule.cost
    if rule.alg == 'b' then rule.weight = rule.cost * rule.a end
    rule.at = text(72 + before * 64)
    if take and rule.word == 'idle' then
      -- A full bucket needs no look: it is written as if, and the answer tells.
      local arrival = now + rule.weight
      local kept = math.max(ms + 2 * (math.floor(rule.a * rule.b / 1000) + 1), math.floor(arrival / 1000) + 1)
      local value = 'b' .. be(0) .. be(kept) .. be(arrival)
      local old = redis.pcall('SET', key, value, 'PX', text(kept - ms + SLACK), 'GET')
      if type(old) == 'table' and old.err then return give_up(old) end
      rule.guessed, rule.old = true, old
      local numbers = old and unpack_state(old, 2) or { 0, 0, 0 }
      rule.fresh = not old or string.sub(old, 1, 1) ~= 'b'
      rule.blocked, rule.fields = numbers[1], { numbers[2], numbers[3] }
      rule.before = rule.fields
    else
      local argv = { 'GET', 'u8', '0', 'GET', 'i64', '8' }
      for at = 1, before do
        argv[#argv + 1] = 'GET'
        argv[#argv + 1] = 'i64'
        argv[#argv + 1] = text(72 + (at - 1) * 64)
      end
      local grows = take and rule.weight > 0
      argv[#argv + 1] = grows and 'INCRBY' or 'GET'
      argv[#argv + 1] = 'i64'
      argv[#argv + 1] = rule.at
      if grows then argv[#argv + 1] = text(rule.weight) end
      local reply = redis.pcall('BITFIELD', key, unpack(argv))
      if reply.err then return give_up(reply) end
      rule.grown = grows
      rule.fresh = reply[1] ~= string.byte(rule.alg)
      rule.blocked, rule.fields = reply[2], {}
      for at = 3, #reply do rule.fields[at - 2] = reply[at] end
      if grows then rule.fields[before + 1] = rule.fields[before + 1] - rule.weight end
    end
    if not rule.fresh and not sane(rule) then rule.fresh = true end
    if rule.fresh then rule.blocked = 0 end
    judge(rule)
  else
    local value = redis.pcall('GET', key)
    if type(value) == 'table' and value.err then return give_up(value) end
    read_list(rule, value or '')
  end
  rules[i] = rule
  admitted = admitted and rule.fits
end

local answer = { admitted and 1 or 0 }
for _, rule in ipairs(rules) do
  answer[#answer + 1] = rule.fits and 1 or 0
  answer[#answer + 1] = rule.blocked
  if BEFORE[rule.alg] then
    for at = 1, 3 do answer[#answer + 1] = rule.fields[at] or 0 end
  else
    answer[#answer + 1] = list_of(rule)
  end
  if not take or not admitted then
    take_back(rule)
  elseif BEFORE[rule.alg] then
    settle_counter(rule)
  else
    settle_list(rule)
  end
end
return answer
