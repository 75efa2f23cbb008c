-- Cells: the stored form, the rules that make a view of them, and numbers as the engine shows them.
-- A cell is {o = origin, av, ap = assign, rv = retracted, tv, tn, ts = total, bv, bn = base}.
-- Lua's `<` on strings follows the server's locale, so bytes are compared by hand; that is off the hot path.
local take, put, floor = struct.unpack, struct.pack, math.floor

-- A version this write is about to take: its id is known only after XADD. Above every real version, so it compares.
local NEW = 9007199253740992

local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x < y end
  end
  return #a < #b
end

-- A key of several fields keeps beside them, in `s`, a number that none of theirs is above, so that a walk need not read
-- what did not change: announced this far ahead, lest every write had to move it. And a `!` if there may be an expiry, so
-- that an everyday write need not look for one. A string is one field: its own number is the key's.
local AHEAD = 256

local function announcement(n, has_expiry) return string.format(has_expiry and '%.0f!' or '%.0f', n + AHEAD) end

local function announced(s)
  local number, mark = string.match(s, '^(%d+)(!?)$')
  return tonumber(number), mark == '!'
end

local function parse_cells(s, pos)
  local cells, n, len = {}, 0, #s
  while pos <= len do
    -- All names from the start: a table that grows name by name is laid out anew three times.
    local c, flags = {o = '', rv = 0, av = nil, ap = nil, tv = nil, tn = nil, ts = nil}, nil
    c.o, flags, pos = take('>Bc0B', s, pos)
    if flags >= 8 then
      flags = flags - 8
      c.av, c.ap, pos = take('>I7I4c0', s, pos)
    end
    if flags >= 4 then
      flags = flags - 4
      c.rv, pos = take('>I7', s, pos)
    end
    if flags >= 2 then
      flags = flags - 2
      c.tv, c.tn, c.ts, pos = take('>I7dI7', s, pos)
    end
    if flags >= 1 then c.bv, c.bn, pos = take('>I7d', s, pos) end
    n = n + 1
    cells[n] = c
  end
  return cells
end

local function parse_stored(s)
  if not s then return {} end
  return parse_cells(s, 8)
end

-- `base` is what stands for NEW: the entry's id in storage, 0 in a log entry.
local function render(c, origin, base)
  if not c.av and c.rv == 0 and not c.bv then
    -- Nothing but a running sum: most cells of counters.
    return put('>Bc0BI7dI7', #origin, origin, 2, c.tv >= NEW and c.tv - NEW + base or c.tv, c.tn, c.ts >= NEW and c.ts - NEW + base or c.ts)
  end
  local flags, assign, rest = 0, '', ''
  if c.av then
    flags = 8
    assign = put('>I7I4', c.av >= NEW and c.av - NEW + base or c.av, #c.ap) .. c.ap
  end
  if c.rv > 0 then
    flags = flags + 4
    -- A member named twice in one command retracts what the command itself assigned.
    rest = put('>I7', c.rv >= NEW and c.rv - NEW + base or c.rv)
  end
  if c.tv then
    flags = flags + 2
    rest = rest .. put('>I7dI7', c.tv >= NEW and c.tv - NEW + base or c.tv, c.tn, c.ts >= NEW and c.ts - NEW + base or c.ts)
  end
  if c.bv then
    flags = flags + 1
    rest = rest .. put('>I7d', c.bv >= NEW and c.bv - NEW + base or c.bv, c.bn)
  end
  return put('>B', #origin) .. origin .. put('>B', flags) .. assign .. rest
end

local function render_all(cells, base)
  if #cells == 1 then return render(cells[1], cells[1].o, base) end
  local out = {}
  for i = 1, #cells do out[i] = render(cells[i], cells[i].o, base) end
  return table.concat(out)
end

-- The cell of an origin, put in its place by byte order if it is new.
local function cell_of(cells, origin)
  local at = #cells + 1
  for i = 1, #cells do
    if cells[i].o == origin then return cells[i] end
    if at > i and before(origin, cells[i].o) then at = i end
  end
  local c = {o = origin, rv = 0}
  table.insert(cells, at, c)
  return c
end

-- A sum that is always a number: opposite infinities cancel, minus zero is zero.
local function plus(a, b)
  local sum = a + b
  if sum ~= sum or sum == 0 then return 0 end
  return sum
end

local function is_assigned(c) return c.av and c.av > c.rv end

local function contribution(c)
  if not c.tv or (c.bv and c.bv >= c.tv) then return nil end
  if c.bv and c.bv >= c.ts then return plus(c.tn, -c.bn) end
  return plus(c.tn, 0)
end

local function is_live(cells)
  for i = 1, #cells do
    if is_assigned(cells[i]) or contribution(cells[i]) then return true end
  end
  return false
end

-- Marks what is visible as observed; says whether there was anything.
local function retract_cell(c)
  local live = is_assigned(c) or contribution(c)
  if c.av and c.av >= c.rv then c.rv, c.ap = c.av, '' end
  if c.tv and (not c.bv or c.bv < c.tv) then c.bv, c.bn = c.tv, c.tn end
  return live and true or false
end

-- Whether a reader sees anything of a field.
local function shows(kind, cells)
  if kind ~= HYPERLOGLOG then return is_live(cells) end
  local _, live = live_registers(cells)
  return #live > 0
end

local function winner_and_sum(cells)
  local best, sum
  for i = 1, #cells do
    local c = cells[i]
    if is_assigned(c) and (not best or c.av > best.av) then best = c end
    local n = contribution(c)
    if n then sum = sum and plus(sum, n) or n end
  end
  return best, sum
end

-- See `number::parse`: the same grammar.
local function number(s)
  if #s > 400 then return nil end
  local mantissa, exponent = string.match(s, '^[+-]?([%d.]+)(.*)$')
  if not mantissa or not (string.find(mantissa, '^%d+%.?%d*$') or string.find(mantissa, '^%.%d+$')) then return nil end
  if exponent ~= '' and not string.find(exponent, '^[eE][+-]?%d+$') then return nil end
  local n = tonumber(s)
  if not n or n == math.huge or n == -math.huge then return nil end
  return n
end

-- See `number::show`: plain digits, the first of 15, 16 or 17 places that reads back.
local function show(n)
  if n == 0 then return '0' end
  if n == floor(n) then return string.format('%.0f', n) end
  local s = string.format('%.15g', n)
  if tonumber(s) ~= n then
    s = string.format('%.16g', n)
    if tonumber(s) ~= n then s = string.format('%.17g', n) end
  end
  local sign, digits, exponent = string.match(s, '^(%-?)([%d.]+)e%-(%d+)$')
  if not digits then return s end
  return sign .. '0.' .. string.rep('0', tonumber(exponent) - 1) .. string.gsub(digits, '%.', '')
end

local function text(cells)
  local best, sum = winner_and_sum(cells)
  if not best then return sum and show(sum) end
  if not sum then return best.ap end
  local n = number(best.ap)
  return n and show(plus(n, sum)) or best.ap
end

local function to_score(payload)
  if payload == 'inf' then return math.huge end
  if payload == '-inf' then return -math.huge end
  return number(payload) or 0
end

local function score(cells)
  local best, sum = winner_and_sum(cells)
  if not best then return sum end
  return plus(to_score(best.ap), sum or 0) -- minus zero is zero, for it would sort below it
end

-- Kinds by their codes: the word in keys, and the native structure of the view (1 string, 2 set, 3 hash, 4 sorted set,
-- 5 ordered: a sorted set of equal scores).
local WORDS = {'string', 'set', 'hash', 'zset', 'best-max', 'best-min', 'first', 'max', 'min', 'siblings', 'flag-on', 'flag-off',
  'list', 'hyperloglog', 'stream', 'feed', 'stock'}
local NATIVE = {1, 2, 3, 4, 4, 4, 1, 1, 1, 1, 1, 1, 5, 1, 5, 5, 1}
-- Whose writes are none unless they improve on what is visible, or find nothing there.
local ORDERS = {[5] = 'GT', [6] = 'LT', [8] = 'GT', [9] = 'LT'}
local FIRST = 7

-- The assignment that no other one beats; of equals the first in origin order.
local function chosen(cells, beats)
  local best
  for i = 1, #cells do
    if is_assigned(cells[i]) and (not best or beats(cells[i], best)) then best = cells[i] end
  end
  return best
end

local function is_earlier(a, b) return a.av < b.av end
local function is_higher(a, b) return to_score(a.ap) > to_score(b.ap) end
local function is_lower(a, b) return to_score(a.ap) < to_score(b.ap) end

-- A member's score, or the value of a register of numbers.
local function points(kind, cells)
  local order = ORDERS[kind]
  if not order then return score(cells) end
  local best = chosen(cells, order == 'GT' and is_higher or is_lower)
  return best and plus(to_score(best.ap), 0)
end

-- The value that wins if any live assignment has it, else the other.
local function flag(cells, winner)
  local shown
  for i = 1, #cells do
    if is_assigned(cells[i]) then
      if cells[i].ap == winner then return winner end
      shown = winner == '1' and '0' or '1'
    end
  end
  return shown
end

-- A string, or a field of a hash.
local function value(kind, cells)
  if kind == FIRST then
    local best = chosen(cells, is_earlier)
    return best and best.ap
  elseif ORDERS[kind] then
    local n = points(kind, cells)
    return n and show(n)
  elseif kind == 11 then
    return flag(cells, '1')
  elseif kind == 12 then
    return flag(cells, '0')
  end
  return text(cells)
end

-- The largest live expire-at in milliseconds; math.huge for "never", nil for none.
local function deadline(cells)
  local latest
  for i = 1, #cells do
    local c = cells[i]
    if is_assigned(c) then
      local at = #c.ap > 0 and #c.ap <= 15 and not string.find(c.ap, '%D') and tonumber(c.ap) or math.huge
      if not latest or at > latest then latest = at end
    end
  end
  return latest
end

-- Views that turned out to hold another type: somebody wrote there by hand. A view is derived, so it must not stop a
-- write or a link: it is dropped, and shown whole afterwards.
local foreign = {}

local function to_view(command, view, ...)
  local reply = redis.pcall(command, view, ...)
  if type(reply) == 'table' and reply.err then
    redis.call('UNLINK', view)
    foreign[view] = true
  end
end

-- The bound behind all that begin with these bytes, for ranges of a view of positions.
local function behind(prefix)
  local last = #prefix
  while string.byte(prefix, last) == 255 do last = last - 1 end
  if last == 0 then return '+' end
  return '(' .. string.sub(prefix, 1, last - 1) .. string.char(string.byte(prefix, last) + 1)
end

-- Shows one member in the native view.
local function show_member(kind, view, member, cells)
  local native = NATIVE[kind]
  if kind == 17 then
    -- What is left is not one member's to say.
    foreign[view] = true
  elseif kind == HYPERLOGLOG then
    show_registers(view, cells)
  elseif native == 1 then
    local shown = value(kind, cells)
    if shown then redis.call('SET', view, shown) else redis.call('DEL', view) end
  elseif native == 2 then
    to_view(is_live(cells) and 'SADD' or 'SREM', view, member)
  elseif native == 3 then
    local shown = value(kind, cells)
    if shown then to_view('HSET', view, member, shown) else to_view('HDEL', view, member) end
  elseif native == 4 then
    local n = points(kind, cells)
    if n then to_view('ZADD', view, string.format('%.17g', n), member) else to_view('ZREM', view, member) end
  else
    -- Ordered: the value stands behind the position, and no position begins another.
    local shown = value(kind, cells)
    to_view('ZREMRANGEBYLEX', view, '[' .. member, behind(member))
    if shown then to_view('ZADD', view, 0, member .. shown) end
  end
end

-- The units that a stock's total counts: a join takes any cell, and what is no count must not become rights.
local function counted(n)
  if n and n >= 0 and n <= 9007199254740992 then return floor(n) end
  return 0
end

-- Shows what is left of a stock.
local function show_stock(all, view)
  local signs, left = {mmint = 1, mreturned = 1, mused = -1}, 0
  for i = 1, #all, 2 do
    local sign = signs[all[i]]
    if sign then
      for _, c in ipairs(parse_stored(all[i + 1])) do left = left + sign * counted(c.tn) end
    end
  end
  redis.call('SET', view, string.format('%.0f', math.max(left, 0)))
end

-- Shows a whole key anew.
local function show_all(kind, cells_key, view)
  redis.call('UNLINK', view)
  local all = redis.call('HGETALL', cells_key)
  if kind == 17 then return show_stock(all, view) end
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'm' then show_member(kind, view, string.sub(all[i], 2), parse_stored(all[i + 1])) end
  end
end

-- The view's own expiry, and the sweeper's list.
local function show_expiry(view, expiring, entry, at, moved)
  if at and at ~= math.huge then
    local millis = string.format('%.0f', at)
    redis.call('PEXPIREAT', view, millis)
    if moved then redis.call('ZADD', expiring, millis, entry) end
  elseif moved then
    redis.call('PERSIST', view)
    redis.call('ZREM', expiring, entry)
  end
end

local function micros(time) return time[1] * 1000000 + time[2] end

local function id_of(version) return string.format('%.0f-%.0f', floor(version / 1000), version % 1000) end

local function version_of(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return ms * 1000 + seq
end
