-- A write under way. KEYS: cells, view, log, number, index, expiring, then views of other types that must be absent,
-- and last what only the operation knows, or for a HyperLogLog the scratch key, for a feed its arrivals and meta.
-- ARGV: the guard, own origin, the head of the delta, then the operation's own from 4 on.
local own = ARGV[2]
local kind, key_name = take('>BI4c0', ARGV[3])
if answer_after_repair then
  show_all(kind, KEYS[1], KEYS[2])
  return answer_after_repair
end
local last_other = #KEYS - extra_keys
if kind == HYPERLOGLOG then last_other = last_other - 1 end
if kind == FEED then last_other = last_other - 2 end
if last_other > 6 and redis.call('EXISTS', unpack(KEYS, 7, last_other)) > 0 then
  return {err = 'WRONGTYPE Operation against a key holding the wrong kind of value'}
end
local fields, touched, taken, now = {}, {}, 0, nil
local over, had_data, hidden = false, false, false
-- Whether the key was there before, and what it had announced.
local known, bound, bound_has_expiry = false, nil, nil
local first_version -- of this write, once it is committed

local function server_time()
  if not now then now = micros(redis.call('TIME')) end
  return now
end

local function put_announced(s)
  if s then
    known = true
    bound, bound_has_expiry = announced(s)
  end
end

local function put_field(name, stored)
  if stored then known = true end
  if not fields[name] then fields[name] = {name = name, cells = parse_stored(stored)} end
end

-- A clear has to look at every field, dead ones included: of more than these it goes in steps, see the engine's `steps.rs`.
local CLEARED_AT_ONCE = 1000
local TOO_MANY_FIELDS = {err = 'ERR too many fields to be cleared at once'}

-- A string, whose hash holds no number of its own, has a single field.
local function is_large() return redis.call('HLEN', KEYS[1]) - 1 > CLEARED_AT_ONCE end

local function load_all()
  local all = redis.call('HGETALL', KEYS[1])
  for i = 1, #all, 2 do
    if all[i] == 's' then put_announced(all[i + 1]) else put_field(all[i], all[i + 1]) end
  end
  put_field('x', false)
  local at = deadline(fields.x.cells)
  for name, field in pairs(fields) do
    if name ~= 'x' and shows(kind, field.cells) then had_data = true end
  end
  if at then over = floor(server_time() / 1000) >= at or not had_data end
end

-- Loads the fields a write names, and the expiry.
local function load_fields(names)
  local n, first = #names, 1
  repeat
    local last = math.min(first + 999, n)
    local got = redis.call('HMGET', KEYS[1], 'x', 's', unpack(names, first, last))
    put_announced(got[2])
    put_field('x', got[1])
    for i = first, last do put_field(names[i], got[i - first + 3]) end
    first = last + 1
  until first > n
end

-- The same. A key past its expiry, or with nothing but an expiry left, is loaded whole: it is cleared by the same write,
-- and counts as absent before it. Answers a refusal, or nil.
local function load(names)
  load_fields(names)
  local at = deadline(fields.x.cells)
  if at then
    over = floor(server_time() / 1000) >= at
    if over and is_large() then return TOO_MANY_FIELDS end
    if not over and redis.call('EXISTS', KEYS[2]) == 0 then
      -- Only an expiry is left, or the server dropped the view by a clock that has been corrected since: the cells decide.
      load_all()
      hidden = had_data
    end
  end
end

-- The fields of the members in ARGV from `first` on, every `step`; each once.
local function fields_named(first, step)
  local names, listed = {}, {}
  for i = first, #ARGV, step do
    local name = 'm' .. ARGV[i]
    if not listed[name] then
      listed[name] = true
      names[#names + 1] = name
    end
  end
  return names
end

local function touch(field)
  if not field.touched then
    field.touched = true
    touched[#touched + 1] = field
  end
end

local function version()
  taken = taken + 1
  return NEW + taken - 1
end

local function retract(field)
  for i = 1, #field.cells do
    local c = field.cells[i]
    if retract_cell(c) then
      c.moved = true
      touch(field)
    end
  end
end

local function assign(field, payload)
  retract(field)
  local c = cell_of(field.cells, own)
  c.av, c.ap, c.moved = version(), payload, true
  touch(field)
end

-- A HyperLogLog begins the next epoch: retracted, a union that somebody has not seen yet would bring its elements back.
local function clear()
  for name, field in pairs(fields) do
    if kind ~= HYPERLOGLOG or name == 'x' then
      retract(field)
    elseif shows(kind, field.cells) then
      assign(field, put('>I6', math.min((live_registers(field.cells)) + 1, LAST_EPOCH)))
    end
  end
end

local function clear_if_over()
  if over then
    load_all()
    clear()
    redis.call('UNLINK', KEYS[2])
    over = false
  end
end

-- Redis drops the key with its last member, and its expiry with it.
local function retract_expiry_of_nothing(removed)
  if removed == 0 or #fields.x.cells == 0 then return end
  local counts = {[1] = 'EXISTS', [2] = 'SCARD', [3] = 'HLEN', [4] = 'ZCARD', [5] = 'ZCARD'}
  if redis.call(counts[NATIVE[kind]], KEYS[2]) == removed then retract(fields.x) end
end

local function deadline_from(mode, millis)
  if mode == 'never' then return 'inf' end
  local at = tonumber(millis)
  if mode == 'in' then at = floor(server_time() / 1000) + at end
  if at > 9007199254740 then return nil end
  return string.format('%.0f', math.max(at, 0))
end

-- Number, log entry, cells, index and view, in this order. Answers an error reply, or nil when done.
local function commit(precise)
  if #touched == 0 then return nil end
  local delta = {}
  for i = 1, #touched do
    local field, records = touched[i], {}
    for j = 1, #field.cells do
      local c = field.cells[j]
      if c.moved then
        if c.o == own then
          records[#records + 1] = render(c, '', 0)
        else
          records[#records + 1] = render({rv = c.rv, bv = c.bv, bn = c.bn}, c.o, 0)
        end
      end
    end
    records = table.concat(records)
    local tag, member = 1, ''
    if field.name ~= 'x' then tag, member = 0, string.sub(field.name, 2) end
    delta[i] = put('>BI4', tag, #member) .. member .. put('>I4', #records) .. records
  end
  local head = put('>BI4', kind, #key_name) .. key_name .. put('>I4', #touched)
  local span = math.max(taken, 1)
  local n, v = append(span, precise, '>c2I6I4c0', span, head .. table.concat(delta))
  -- The incarnation's log is gone: it was closed, or everything was lost.
  if not n then return {err = STALE} end
  first_version = v
  local args, stamp, dying = {}, put('>BI6', 1, n), {}
  for i = 1, #touched do
    local field = touched[i]
    if has_dead(field.cells) then
      dying[#dying + 1] = DYING + n
      dying[#dying + 1] = dying_member(WORDS[kind] .. ':' .. key_name, field.name)
    end
    args[#args + 1] = field.name
    args[#args + 1] = stamp .. render_all(field.cells, v)
    if #args >= 2000 then
      redis.call('HSET', KEYS[1], unpack(args))
      args = {}
    end
  end
  local has_expiry = fields.x ~= nil and #fields.x.cells > 0
  if kind ~= 1 and (not bound or n > bound or bound_has_expiry ~= has_expiry) then
    args[#args + 1] = 's'
    args[#args + 1] = announcement(n, has_expiry)
  end
  if #args > 0 then redis.call('HSET', KEYS[1], unpack(args)) end
  bury(KEYS[6], dying)
  return nil
end

-- After the commit: the index entry of a new key, and the view.
local function publish()
  if #touched == 0 then return end
  local entry
  if not known then
    entry = WORDS[kind] .. ':' .. key_name
    redis.call('ZADD', KEYS[5], 0, entry)
  end
  for i = 1, #touched do
    local field = touched[i]
    if kind == FEED and field.name ~= 'x' then arrive(KEYS[#KEYS], KEYS[#KEYS - 1], string.sub(field.name, 2), field.cells) end
    if field.name ~= 'x' and not hidden and not field.is_shown then show_member(kind, KEYS[2], string.sub(field.name, 2), field.cells) end
  end
  if hidden or foreign[KEYS[2]] then show_all(kind, KEYS[1], KEYS[2]) end
  local x = fields.x
  if #x.cells > 0 then
    show_expiry(KEYS[2], KEYS[6], entry or WORDS[kind] .. ':' .. key_name, deadline(x.cells), x.touched)
  end
end

-- After the commit of a clear: at once, not member by member. UNLINK frees a big view in the background.
local function publish_cleared()
  if #touched == 0 then return end
  redis.call('UNLINK', KEYS[2])
  if kind == FEED then redis.call('UNLINK', KEYS[#KEYS - 1]) end
  redis.call('ZREM', KEYS[6], WORDS[kind] .. ':' .. key_name)
end
