-- Positions of a list's elements: the algorithm of the engine's `position.rs`, which says what they are and why.
local LEFT, END, RIGHT = '\0', '\1', '\2'
local MAX_SEQUENCE = 140737488355328

local function take_var(s, at, inverted)
  local head = string.byte(s, at)
  if inverted then head = 255 - head end
  if head >= 128 then head = head - 128 end
  if head < 112 then return head, at + 1 end
  local n, last = 0, at + head - 111
  for i = at + 1, last do
    local digit = string.byte(s, i)
    if inverted then digit = 255 - digit end
    n = n * 256 + digit
  end
  return n, last + 1
end

local function var(n)
  if n < 112 then return string.char(n) end
  local digits = ''
  repeat
    digits = string.char(n % 256) .. digits
    n = floor(n / 256)
  until n == 0
  return string.char(111 + #digits) .. digits
end

local function signed(bytes, negative)
  bytes = string.char(string.byte(bytes) + 128) .. string.sub(bytes, 2)
  if not negative then return bytes end
  return (string.gsub(bytes, '.', function(byte) return string.char(255 - string.byte(byte)) end))
end

-- The position that a view's member begins with: what stands behind it is the value.
local function parse_position(s)
  local negative = string.byte(s) < 128
  local sequence, at = take_var(s, 1, negative)
  local p = {sequence = negative and -sequence or sequence}
  while true do
    local waypoint = {incarnation = string.sub(s, at, at + 7)}
    waypoint.number, at = take_var(s, at + 8)
    waypoint.path = string.sub(s, 1, at - 1)
    p.root, p.last = p.root or waypoint, waypoint
    local inverted, _ = string.byte(s, at) < 128, nil
    _, at = take_var(s, at, inverted)
    _, at = take_var(s, at, inverted)
    if string.byte(s, at) == 1 then
      p.body = string.sub(s, 1, at - 1)
      return p
    end
    at = at + 1
  end
end

local function position_of(member) return parse_position(member).body .. END end

local function value_of(member) return string.sub(member, #parse_position(member).body + 2) end

local function starts_with(s, prefix) return string.sub(s, 1, #prefix) == prefix end

local function age_under(p, path) return (take_var(p.body, #path + 1, string.byte(p.body, #path + 1) < 128)) end

local function made(p) return p.last.number + age_under(p, p.last.path) end

local function is_below(right, left)
  if starts_with(right.body, left.body) then return true end
  local path = left.last.path
  return starts_with(right.body, path) and age_under(right, path) > age_under(left, path)
end

-- `count` positions between two members of the view, in order; `number` is that of the write's log entry.
local function positions_between(left, right, count, number)
  local incarnation = string.sub(own, -8)
  left, right = left and parse_position(left), right and parse_position(right)
  local path, age, downwards = nil, 0, false
  local function is_own(waypoint) return waypoint.incarnation == incarnation and waypoint.number < number end
  local function beside(waypoint, down) path, age, downwards = waypoint.path, number - waypoint.number, down end
  local function below(parent) path = parent .. incarnation .. var(number) end
  local function root(sequence) below(signed(var(math.abs(sequence)), sequence < 0)) end
  local function extends(p, other)
    return p and is_own(p.last) and not (other and starts_with(other.body, p.last.path))
  end
  local up, down = extends(left, right), extends(right, left)
  if not left and not right then
    root(0)
  elseif not right and is_own(left.root) then
    beside(left.root, false)
  elseif not right and left.sequence < MAX_SEQUENCE then
    root(left.sequence + 1)
  elseif not left and is_own(right.root) then
    beside(right.root, true)
  elseif not left and right.sequence > -MAX_SEQUENCE then
    root(right.sequence - 1)
  elseif up and not (down and made(right) > made(left)) then
    beside(left.last, false)
  elseif down then
    beside(right.last, true)
  elseif not left or right and is_below(right, left) then
    below(right.body .. LEFT)
  else
    below(left.body .. RIGHT)
  end
  local made, old = {}, var(age)
  for i = 1, count do
    made[i] = path .. signed(old .. var(downwards and count - i or i - 1), downwards) .. END
  end
  return made
end
