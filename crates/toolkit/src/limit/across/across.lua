-- Reservations: hits that are taken at once and given back unless they are
-- confirmed in time. Follows state.lua and check.lua, which is the function `check`.
--
-- KEYS: one a rule, then the key of each rule's notes. ARGV: what to do ('take',
-- 'commit', 'refund' or 'revoke'); now in microseconds; then
-- for 'take' what check.lua takes, the reservation's token (nothing to take without
-- a note) and its deadline; it answers as check.lua does, then for each rule the
-- mark and the former end that its note has, and the earliest deadline of others;
-- for the others the token, then for each rule its letter, its two parameters and,
-- as a note has them, mark, weight, former end and permit; they answer 1, or 0
-- where a note was gone.
local MOST = 256
local count = #KEYS / 2

-- A value is 'n' and 'token:deadline:mark:weight:former:permit,' for each note.
local function read_notes(value)
  local notes = {}
  if not value or string.sub(value, 1, 1) ~= 'n' then return notes end
  local at = 2
  while at <= #value do
    local token, deadline, mark, weight, former, permit, behind =
      string.match(value, '^(%w+):(%d+):(%d+):(%d+):(%d+):(%w*),()', at)
    if not token then return {} end
    local note = {
      token = token, deadline = tonumber(deadline), mark = tonumber(mark),
      weight = tonumber(weight), former = tonumber(former), permit = permit,
    }
    if math.max(note.deadline, note.mark, note.weight, note.former) > MAX then return {} end
    notes[#notes + 1] = note
    at = behind
  end
  return notes
end

local function notes_of(rule)
  local parts = {}
  for at, note in ipairs(rule.notes) do
    parts[at] = note.token .. ':' .. text(note.deadline) .. ':' .. text(note.mark) .. ':'
      .. text(note.weight) .. ':' .. text(note.former) .. ':' .. note.permit .. ','
  end
  return 'n' .. table.concat(parts)
end

-- Milliseconds for which a hit that is taken now counts.
local function held_for(rule)
  if rule.alg == 's' then return 2 * rule.b + SLACK end
  if rule.alg == 'b' then return math.floor(rule.a * rule.b / 1000) + 1 + SLACK end
  return rule.b + SLACK
end

local function load_state(rule)
  local value = redis.call('GET', rule.key) or ''
  local before = BEFORE[rule.alg]
  if not before then return read_list(rule, value) end
  local numbers = unpack_state(value, before + 1)
  rule.blocked, rule.fields = numbers[1], {}
  for at = 2, #numbers do rule.fields[at - 1] = numbers[at] end
  rule.lost = string.sub(value, 1, 1) ~= rule.alg or not sane(rule)
end

local function undo_bucket(rule, note)
  local f = rule.fields
  local give = math.min(note.mark - now, note.weight)
  if give <= 0 or f[2] <= now then return false end
  f[2] = math.max(f[2] - give, now)
  local later = false
  for _, other in ipairs(rule.notes) do
    if later then other.mark = math.max(other.mark - give, 0) end
    later = later or other == note
  end
  return true
end

local function undo_entry(rule, note)
  for at = #rule.entries, 1, -1 do
    local entry = rule.entries[at]
    if entry[2] == note.mark and entry[1] == note.permit and entry[3] == note.weight then
      if note.former > now then
        entry[2] = note.former
      else
        table.remove(rule.entries, at)
      end
      return true
    end
  end
  return false
end

-- Takes a hit out of a state where it still counts; whether it did.
local function undo(rule, note)
  if not BEFORE[rule.alg] then return undo_entry(rule, note) end
  local f = rule.fields
  if rule.lost then return false end
  if rule.alg == 'b' then return undo_bucket(rule, note) end
  local at = #f
  if rule.alg == 's' and f[1] == note.mark + 1 then
    at = 2
  elseif f[1] ~= note.mark then
    return false
  end
  f[at] = math.max(f[at] - note.weight, 0)
  return true
end

local function write(rule)
  if rule.changed then
    local value = BEFORE[rule.alg] and pack_state(rule) or list_of(rule)
    redis.call('SET', rule.key, value, 'KEEPTTL')
  end
  if not rule.fewer then return end
  if #rule.notes == 0 then
    redis.call('DEL', rule.held)
  else
    redis.call('SET', rule.held, notes_of(rule), 'KEEPTTL')
  end
end

-- Takes out the notes that `which` names, and what they hold back if `gives`.
local function take_out(rule, which, gives)
  local kept = {}
  for _, note in ipairs(rule.notes) do
    if not which(note) then
      kept[#kept + 1] = note
    elseif gives and undo(rule, note) then
      rule.changed = true
    end
  end
  rule.fewer = #kept < #rule.notes
  rule.notes = kept
end

local function is_over(note) return note.deadline <= now end

local function take()
  local counters, rules, any = {}, {}, false
  for i = 1, count do
    local o = 2 + (i - 1) * 5
    counters[i] = KEYS[i]
    rules[i] = {
      key = KEYS[i], held = KEYS[count + i], alg = ARGV[o + 1], a = tonumber(ARGV[o + 2]),
      b = tonumber(ARGV[o + 3]), cost = tonumber(ARGV[o + 4]), word = ARGV[o + 5], blocked = 0,
    }
    rules[i].notes = read_notes(redis.call('GET', KEYS[count + i]))
    for _, note in ipairs(rules[i].notes) do any = any or is_over(note) end
  end
  if any then
    for _, rule in ipairs(rules) do load_state(rule) end
    for _, rule in ipairs(rules) do
      take_out(rule, is_over, true)
      write(rule)
    end
  end
  local token, deadline = ARGV[3 + count * 5], tonumber(ARGV[4 + count * 5])
  for _, rule in ipairs(rules) do
    -- Too many are on their way: nothing more is taken.
    if token ~= '' and #rule.notes >= MOST then ARGV[1] = 'peek' end
  end
  local answer = check(counters, ARGV)
  if answer.err then return answer end
  if ARGV[1] == 'peek' then answer[1] = 0 end
  local at, tail = 2, {}
  for _, rule in ipairs(rules) do
    local mark, former, earliest = 0, 0, 0
    local permit = rule.alg == 'c' and rule.word or ''
    for _, note in ipairs(rule.notes) do
      if earliest == 0 or note.deadline < earliest then earliest = note.deadline end
    end
    if rule.alg == 'b' then
      mark = answer[at + 3] + rule.cost * rule.a
    elseif BEFORE[rule.alg] then
      mark = answer[at + 2]
    elseif rule.alg == 'l' then
      mark = now
    else
      mark = now + rule.b * 1000
      former = tonumber(string.match(answer[at + 2], '[;,]' .. permit .. ':(%d+):') or 0)
    end
    at = at + (BEFORE[rule.alg] and 5 or 3)
    if answer[1] == 0 or token == '' then mark, former = 0, 0 end
    if answer[1] == 1 and token ~= '' then
      local weight = rule.alg == 'b' and rule.cost * rule.a or rule.cost
      rule.notes[#rule.notes + 1] = {
        token = token, deadline = deadline, mark = mark, weight = weight, former = former,
        permit = permit,
      }
      redis.call('SET', rule.held, notes_of(rule), 'PX', text(held_for(rule)))
    end
    tail[#tail + 1] = mark
    tail[#tail + 1] = former
    tail[#tail + 1] = earliest
  end
  for _, number in ipairs(tail) do answer[#answer + 1] = number end
  return answer
end

local function settle()
  local change, token, rules, all = ARGV[1], ARGV[3], {}, true
  local function is_ours(note) return note.token == token end
  for i = 1, count do
    local o = 3 + (i - 1) * 7
    local rule = {
      key = KEYS[i], held = KEYS[count + i], alg = ARGV[o + 1], a = tonumber(ARGV[o + 2]),
      b = tonumber(ARGV[o + 3]), word = '', blocked = 0,
    }
    rule.notes = read_notes(redis.call('GET', rule.held))
    local found = false
    for _, note in ipairs(rule.notes) do found = found or is_ours(note) end
    all = all and found
    if change == 'revoke' then
      rule.committed = {
        mark = tonumber(ARGV[o + 4]), weight = tonumber(ARGV[o + 5]),
        former = tonumber(ARGV[o + 6]), permit = ARGV[o + 7],
      }
    end
    rules[i] = rule
  end
  local gives = change ~= 'commit' or not all
  if gives then
    for _, rule in ipairs(rules) do load_state(rule) end
  end
  for _, rule in ipairs(rules) do
    if rule.committed then
      rule.changed = undo(rule, rule.committed)
    else
      take_out(rule, is_ours, gives)
    end
    write(rule)
  end
  return all and 1 or 0
end

if ARGV[1] == 'take' then return take() end
return settle()
