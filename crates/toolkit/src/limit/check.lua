-- Checks a hit against several rules, and takes it from all of them or from none.
--
-- KEYS: one a rule. ARGV: 'take' or 'peek'; now in microseconds; then for each rule
-- its algorithm's letter, its two parameters, the cost, and a word: 'idle' where a
-- bucket is likely to be full, the id of a permit, or nothing.
-- Answers 1 or 0 for admitted, then for each rule whether it fits, the moment until
-- which it is blocked and three numbers as they were before the hit; for lists the
-- value instead.
--
-- Of one rule, `single.lua` may have asked `ahead`.
--
-- A counter is read and increased in one command. What was increased in vain is
-- taken back: a refused hit leaves every key as it was, unless a clock was ahead.
local take = ARGV[1] == 'take'

-- Whether the hit fits a counter.
local function fits(rule)
  local f, a, b = rule.fields, rule.a, rule.b
  if rule.alg == 'f' then return f[2] + rule.cost <= a end
  if rule.alg == 's' then
    local left = b - math.max(ms - f[1] * b, 0)
    return f[2] * left <= (a - f[3] - rule.cost) * b
  end
  return rule.cost <= b and f[2] + rule.cost * a <= now + a * b
end

local function take_back(rule)
  if rule.guessed then
    if rule.old and not rule.fresh then
      local left = math.max(rule.before[1] - ms, rule.blocked - ms, 0)
      redis.call('SET', rule.key, rule.old, 'PX', text(left + SLACK))
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

-- Keeps what was brought back from a clock that was ahead, where the hit is refused:
-- or else each hit would begin anew to wait.
local function keep_clamped(rule)
  if not BEFORE[rule.alg] then
    if rule.cost == 0 then return end
    redis.call('SET', rule.key, list_of(rule), 'PX', text(list_lifetime(rule)))
  elseif rule.weight > 0 then
    write_counter(rule)
  end
end

-- Writes a counter whose numbers changed by more than the hit.
local function settle_counter(rule)
  if rule.weight == 0 then return end
  local last = #rule.fields
  rule.fields[last] = rule.fields[last] + rule.weight
  local guessed_right = rule.guessed and rule.rolled and rule.blocked == 0
  local ttl = lifetime(rule)
  if guessed_right then return end
  if not rule.rolled and not rule.guessed then return end
  if rule.alg ~= 'b' or rule.fresh or rule.guessed or rule.outlives then
    write_counter(rule)
  else
    redis.call('SET', rule.key, pack_state(rule), 'KEEPTTL')
  end
end

-- Adds the hit to a list, in the place of a permit with its id.
local function settle_list(rule)
  if rule.cost == 0 then return end
  local moment = now
  if rule.alg == 'c' then moment = now + rule.b * 1000 end
  local hit, value = { rule.word, moment, rule.cost }, nil
  if rule.read and not rule.holds then
    rule.entries[#rule.entries + 1] = hit
    value = head_of(rule) .. rule.read .. entry_of(rule, hit)
  else
    local kept = {}
    for _, entry in ipairs(rule.entries) do
      if rule.alg == 'l' or entry[1] ~= rule.word then kept[#kept + 1] = entry end
    end
    kept[#kept + 1] = hit
    rule.entries = kept
    value = list_of(rule)
  end
  redis.call('SET', rule.key, value, 'PX', text(list_lifetime(rule)))
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
      local old = ahead
      if old == nil then old = redis.pcall('SET', key, value, 'PX', text(kept - ms + SLACK), 'GET') end
      if type(old) == 'table' and old.err then return give_up(old) end
      rule.guessed, rule.old = true, old
      local numbers = old and unpack_state(old, 2) or { 0, 0, 0 }
      rule.fresh = not old or string.sub(old, 1, 1) ~= 'b' or #old < 25
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
      local reply = ahead or redis.pcall('BITFIELD', key, unpack(argv))
      if reply.err then return give_up(reply) end
      rule.grown = grows
      rule.fresh = reply[1] ~= string.byte(rule.alg)
      rule.blocked, rule.fields = reply[2], {}
      for at = 3, #reply do rule.fields[at - 2] = reply[at] end
      if grows then rule.fields[before + 1] = rule.fields[before + 1] - rule.weight end
    end
    if not rule.fresh and not sane(rule) then rule.fresh = true end
    if rule.fresh then rule.blocked = 0 end
    roll(rule)
    rule.fits = fits(rule) and rule.blocked <= ms
  else
    local value = redis.pcall('GET', key)
    if type(value) == 'table' and value.err then return give_up(value) end
    read_list(rule, value or '')
    rule.fits = rule.used + rule.cost <= rule.a and rule.blocked <= ms
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
    answer[#answer + 1] = rule.read and head_of(rule) .. rule.read or list_of(rule)
  end
  if take and not admitted and rule.clamped then
    keep_clamped(rule)
  elseif not take or not admitted then
    take_back(rule)
  elseif BEFORE[rule.alg] then
    settle_counter(rule)
  else
    settle_list(rule)
  end
end
return answer
