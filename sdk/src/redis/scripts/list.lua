-- Lists. ARGV from 4: which write, then its own arguments.
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

local function take_members(found)
  local positions = {}
  for i = 1, #found do positions[i] = position_of(found[i]) end
  take_out(positions, length())
end

local function push()
  local front, existing = ARGV[5] == 'front', ARGV[6] == '1'
  local at = front and 0 or -1
  local neighbour = members(at, at)[1]
  if existing and not neighbour then return nil, 0 end
  local values, last = {}, #ARGV
  for i = 7, last do
    if front then values[last - i + 1] = ARGV[i] else values[i - 6] = ARGV[i] end
  end
  if front then return place(nil, neighbour, values), length() + #values end
  return place(neighbour, nil, values), length() + #values
end

local function insert()
  local from, before_it = 0, nil
  while true do
    local some = members(from, from + 999)
    for i = 1, #some do
      if value_of(some[i]) == ARGV[6] then
        local left, right = some[i - 1] or before_it, some[i]
        if ARGV[5] == 'after' then left, right = some[i], members(from + i, from + i)[1] end
        return place(left, right, {ARGV[7]}), length() + 1
      end
    end
    if #some < 1000 then return nil, from + #some > 0 and -1 or 0 end
    from, before_it = from + 1000, some[1000]
  end
end

local function set()
  local found = members(ARGV[5], ARGV[5])[1]
  if not found then return {err = length() == 0 and 'ERR no such key' or 'ERR index out of range'} end
  local name = 'm' .. position_of(found)
  load_fields({name})
  assign(fields[name], ARGV[6])
  return nil, {1, 0, 1, false}
end

local function pop()
  local count, found, values = tonumber(ARGV[6]), {}, {}
  if count > 0 then
    if ARGV[5] == 'front' then
      found = members(0, count - 1)
    else
      local backwards = members(-count, -1)
      for i = 1, #backwards do found[i] = backwards[#backwards - i + 1] end
    end
  end
  for i = 1, #found do values[i] = value_of(found[i]) end
  take_members(found)
  return nil, values
end

local function remove_value()
  local all, count, found = members(0, -1), tonumber(ARGV[6]), {}
  local first, last, step = 1, #all, 1
  if count < 0 then first, last, step = last, first, -1 end
  local limit = count == 0 and #all or math.abs(count)
  for i = first, last, step do
    if #found < limit and value_of(all[i]) == ARGV[5] then found[#found + 1] = all[i] end
  end
  if #found > CLEARED_AT_ONCE then return TOO_MANY_FIELDS end
  take_members(found)
  return nil, #found
end

local function trim()
  local len, start, stop = #members(0, 0) > 0 and length() or 0, tonumber(ARGV[5]), tonumber(ARGV[6])
  if start < 0 then start = math.max(start + len, 0) end
  if stop < 0 then stop = stop + len end
  if start > stop or start >= len then start, stop = len, len end
  if start + math.max(len - 1 - stop, 0) > CLEARED_AT_ONCE then return TOO_MANY_FIELDS end
  local found = start > 0 and members(0, start - 1) or {}
  if stop < len - 1 then
    local behind = members(stop + 1, -1)
    for i = 1, #behind do found[#found + 1] = behind[i] end
  end
  take_members(found)
  return nil, #found
end

local writes = {push = push, insert = insert, set = set, pop = pop, remove = remove_value, trim = trim}
local refused, answer = writes[ARGV[4]]()
if refused then return refused end
-- Which of two values of one element is the later is decided by the version: of a position there is only one.
local failed = commit(ARGV[4] == 'set')
if failed then return failed end
publish()
return answer
