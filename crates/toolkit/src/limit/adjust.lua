-- Changes what a rule has counted, without asking whether it fits.
--
-- KEYS: the rule's. ARGV: the change (give, charge, return, block, unblock, release),
-- now in microseconds, the algorithm's letter, its two parameters, an amount (hits, or
-- the moment in milliseconds of a block's end) and a permit's id, or where the tokens
-- end that are returned and, after a space, the hits of the window before. Answers 1
-- where anything changed.
local key, change = KEYS[1], ARGV[1]
local amount = tonumber(ARGV[6])
local rule = {
  key = key, alg = ARGV[3], a = tonumber(ARGV[4]), b = tonumber(ARGV[5]),
  word = '', blocked = 0, rolled = false,
}
local value = redis.call('GET', key)
if not value and change ~= 'charge' and change ~= 'block' then return 0 end
value = value or ''

local function give_counter()
  local f = rule.fields
  if rule.alg == 'f' then
    f[2] = math.max(f[2] - amount, 0)
  elseif rule.alg == 's' then
    local rest = math.max(amount - f[3], 0)
    f[3] = math.max(f[3] - amount, 0)
    f[2] = math.max(f[2] - rest, 0)
  else
    f[2] = math.max(f[2] - amount * rule.a, now)
  end
end

-- A penalty goes as far as to use up the limit once more.
local function charge_counter()
  local f = rule.fields
  if rule.alg == 'b' then
    f[2] = math.max(math.min(f[2] + amount * rule.a, now + 2 * rule.a * rule.b), f[2])
  else
    f[#f] = math.max(math.min(f[#f] + amount, 2 * rule.a), f[#f])
  end
end

-- Where a window ends, or the place after a bucket's last token.
local function edge()
  local f = rule.fields
  if rule.alg == 'f' then return f[1] + rule.b end
  if rule.alg == 's' then return (f[1] + 1) * rule.b end
  return f[2]
end

-- Gives unused tokens of a lease back to where they were taken from. A count with
-- other hits of the window before, or fewer than come back, was reset since.
local function give_back()
  local finish, former = string.match(ARGV[7], '^(%S+) (%S+)$')
  local f = rule.fields
  if edge() ~= tonumber(finish) then return false end
  if rule.alg == 's' and f[2] ~= tonumber(former) then return false end
  if rule.alg ~= 'b' and f[#f] < amount then return false end
  give_counter()
  return true
end

local function give_list()
  local rest = amount
  while rest > 0 and #rule.entries > 0 do
    local last = rule.entries[#rule.entries]
    local part = math.min(rest, last[3])
    last[3], rest = last[3] - part, rest - part
    if last[3] == 0 then rule.entries[#rule.entries] = nil end
  end
end

local function release()
  local kept = {}
  for _, entry in ipairs(rule.entries) do
    if entry[1] ~= ARGV[7] then kept[#kept + 1] = entry end
  end
  local found = #kept < #rule.entries
  rule.entries = kept
  return found
end

if BEFORE[rule.alg] then
  read_counter(rule, value)
else
  read_list(rule, value)
end

local changed = true
if change == 'block' then
  rule.blocked = amount
elseif change == 'unblock' then
  rule.blocked = 0
elseif BEFORE[rule.alg] then
  if change == 'give' then
    give_counter()
  elseif change == 'charge' then
    charge_counter()
  elseif change == 'return' then
    changed = give_back()
  else
    changed = false
  end
elseif change == 'give' then
  give_list()
elseif change == 'charge' and rule.alg == 'l' then
  local room = math.max(2 * rule.a - rule.used, 0)
  local cost = math.min(amount, room)
  if cost > 0 then rule.entries[#rule.entries + 1] = { '', now, cost } end
elseif change == 'release' and rule.alg == 'c' then
  changed = release()
else
  changed = false
end
if not changed then return 0 end

if BEFORE[rule.alg] then
  write_counter(rule)
else
  redis.call('SET', key, list_of(rule), 'PX', text(list_lifetime(rule)))
end
return 1
