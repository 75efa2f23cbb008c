-- Lists. ARGV from 6: which write, then its own arguments. The view is a sorted set of equal scores, each member a
-- position and the value behind it, so that its order is the list's.
load({})
clear_if_over()

-- The view is read here, so it must be there: the server may have dropped it by a clock that has been corrected since,
-- or somebody wrote another type there by hand.
local function restore_view()
  show_all(kind, KEYS[1], KEYS[2])
  show_expiry(KEYS[2], KEYS[6], nil, deadline(fields.x.cells), false)
  hidden = false
end
if hidden then restore_view() end

local function members(first, last)
  local found = redis.pcall('ZRANGE', KEYS[2], first, last)
  if found.err then
    restore_view()
    found = redis.call('ZRANGE', KEYS[2], first, last)
  end
  return found
end

local function length() return redis.call('ZCARD', KEYS[2]) end

-- Assigns values, in list order, to new positions between two members.
local function place(left, right, values)
  local number = tonumber(redis.call('GET', KEYS[4]) or 0) + 1
  local made = positions_between(left, right, #values, number)
  for i = 1, #made do
    if #made[i] > 65536 then
      return {err = 'ERR value exceeds the limit for its kind (name 1 KiB, member 64 KiB, value 8 MiB, 10000 members)'}
    end
  end
  for i = 1, #made do
    put_field('m' .. made[i], false)
    assign(fields['m' .. made[i]], values[i])
  end
end

local function load_fields(names)
  for first = 1, #names, 1000 do
    local last = math.min(first + 999, #names)
    local got = redis.call('HMGET', KEYS[1], unpack(names, first, last))
    for i = first, last do put_field(names[i], got[i - first + 1]) end
  end
end

-- Removes these members. Redis drops the key with its last element, and its expiry with it.
local function take_out(found)
  local names = {}
  for i = 1, #found do names[i] = 'm' .. position_of(found[i]) end
  load_fields(names)
  for i = 1, #names do retract(fields[names[i]]) end
  if #names > 0 and #names == length() then retract(fields.x) end
end

local function push()
  local front, existing = ARGV[7] == 'front', ARGV[8] == '1'
  local at = front and 0 or -1
  local neighbour = members(at, at)[1]
  if existing and not neighbour then return nil, 0 end
  local values, last = {}, #ARGV
  for i = 9, last do
    if front then values[last - i + 1] = ARGV[i] else values[i - 8] = ARGV[i] end
  end
  if front then return place(nil, neighbour, values), length() + #values end
  return place(neighbour, nil, values), length() + #values
end

local function insert()
  local from, before_it = 0, nil
  while true do
    local some = members(from, from + 999)
    for i = 1, #some do
      if value_of(some[i]) == ARGV[8] then
        local left, right = some[i - 1] or before_it, some[i]
        if ARGV[7] == 'after' then left, right = some[i], members(from + i, from + i)[1] end
        return place(left, right, {ARGV[9]}), length() + 1
      end
    end
    if #some < 1000 then return nil, from + #some > 0 and -1 or 0 end
    from, before_it = from + 1000, some[1000]
  end
end

local function set()
  local found = members(ARGV[7], ARGV[7])[1]
  if not found then return {err = length() == 0 and 'ERR no such key' or 'ERR index out of range'} end
  local name = 'm' .. position_of(found)
  load_fields({name})
  assign(fields[name], ARGV[8])
  return nil, {1, 0, 1, false}
end

local function pop()
  local count, found, values = tonumber(ARGV[8]), {}, {}
  if count > 0 then
    if ARGV[7] == 'front' then
      found = members(0, count - 1)
    else
      local backwards = members(-count, -1)
      for i = 1, #backwards do found[i] = backwards[#backwards - i + 1] end
    end
  end
  for i = 1, #found do values[i] = value_of(found[i]) end
  take_out(found)
  return nil, values
end

local function remove_value()
  local all, count, found = members(0, -1), tonumber(ARGV[8]), {}
  local first, last, step = 1, #all, 1
  if count < 0 then first, last, step = last, first, -1 end
  local limit = count == 0 and #all or math.abs(count)
  for i = first, last, step do
    if #found < limit and value_of(all[i]) == ARGV[7] then found[#found + 1] = all[i] end
  end
  take_out(found)
  return nil, #found
end

local function trim()
  local len, start, stop = #members(0, 0) > 0 and length() or 0, tonumber(ARGV[7]), tonumber(ARGV[8])
  if start < 0 then start = math.max(start + len, 0) end
  if stop < 0 then stop = stop + len end
  if start > stop or start >= len then start, stop = len, len end
  local found = start > 0 and members(0, start - 1) or {}
  if stop < len - 1 then
    local behind = members(stop + 1, -1)
    for i = 1, #behind do found[#found + 1] = behind[i] end
  end
  take_out(found)
  return nil, #found
end

local writes = {push = push, insert = insert, set = set, pop = pop, remove = remove_value, trim = trim}
local refused, answer = writes[ARGV[6]]()
if refused then return refused end
-- Which of two values of one element is the later is decided by the version: of a position there is only one.
local failed = commit(ARGV[6] == 'set')
if failed then return failed end
publish()
return answer
