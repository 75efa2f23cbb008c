-- INCRBY, INCRBYFLOAT, HINCRBY, HINCRBYFLOAT, ZINCRBY. ARGV from 4: amount, member if the type has
-- members, and 'f' if the amount need not be whole. Answers the new value.
local amount, name = tonumber(ARGV[4]), 'm' .. (ARGV[5] or '')
local refused = load({name})
if refused then return refused end
local field = fields[name]
local before_it, run = nil, {rv = 0}
if not over then
  if kind == 4 then before_it = score(field.cells) else before_it = text(field.cells) end
  for i = 1, #field.cells do
    if field.cells[i].o == own then run = field.cells[i] end
  end
end
local run_before = contribution(run) and run.tn or 0
if kind == 4 then
  local sum = (before_it or 0) + amount
  if sum ~= sum then return {err = 'ERR resulting score is not a number (NaN)'} end
elseif not ARGV[6] then
  local present = 0
  if before_it then
    local sign, digits = string.match(before_it, '^(%-?)(%d+)$')
    local limit = sign == '-' and '9223372036854775808' or '9223372036854775807'
    if not digits or before_it == '-0' or (#digits > 1 and string.sub(digits, 1, 1) == '0') or #digits > 19
      or (#digits == 19 and before(limit, digits)) then
      return {err = kind == 3 and 'ERR hash value is not an integer' or 'ERR value is not an integer or out of range'}
    end
    present = tonumber(before_it)
  end
  -- 2^53 + 1 rounds to 2^53, so at the bound the sum has to give the first number back. And an integer that no double
  -- holds reads as its neighbour.
  local function sum_is_exact(a, b)
    local sum = math.abs(a + b)
    return sum < 9007199254740992 or (sum == 9007199254740992 and a + b - b == a)
  end
  if (before_it and show(present) ~= before_it) or not sum_is_exact(present, amount) or not sum_is_exact(run_before, amount) then
    return {err = 'ERR increment or decrement would overflow'}
  end
else
  local present = 0
  if before_it then
    present = number(before_it)
    if not present then
      return {err = kind == 3 and 'ERR hash value is not a float' or 'ERR value is not a valid float'}
    end
  end
  for _, n in ipairs({amount, present + amount, run_before + amount}) do
    if n ~= n or n == math.huge or n == -math.huge then
      return {err = 'ERR increment would produce NaN or Infinity'}
    end
  end
end
clear_if_over()
local c = cell_of(field.cells, own)
local v = version()
if contribution(c) then c.tn = plus(c.tn, amount) else c.tn, c.ts = plus(amount, 0), v end
c.tv, c.moved = v, true
touch(field)
local failed = commit()
if failed then return failed end
publish()
if kind == 4 then return show(score(field.cells)) end
return text(field.cells)
