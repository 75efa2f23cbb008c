-- Views in an order: sorted sets of equal scores, each member a position and the value behind it. They are read here, so
-- they must be there.
local function length() return redis.call('ZCARD', KEYS[2]) end

-- The server may have dropped the view by a clock that has been corrected since.
local function restore_view()
  show_all(kind, KEYS[1], KEYS[2])
  show_expiry(KEYS[2], KEYS[6], nil, deadline(fields.x.cells), false)
  hidden = false
end

-- Or somebody wrote another type there by hand.
local function from_view(command, ...)
  local found = redis.pcall(command, KEYS[2], ...)
  if type(found) == 'table' and found.err then
    restore_view()
    found = redis.call(command, KEYS[2], ...)
  end
  return found
end

local function members(first, last) return from_view('ZRANGE', first, last) end

-- Removes the members at these positions, of `count` that there are. Redis drops the key with its last one, and its
-- expiry with it.
local function take_out(positions, count)
  local names = {}
  for i = 1, #positions do names[i] = 'm' .. positions[i] end
  load_fields(names)
  for i = 1, #names do retract(fields[names[i]]) end
  if #names > 0 and #names == count then retract(fields.x) end
end

local refused = load({})
if refused then return refused end
clear_if_over()
if hidden then restore_view() end
