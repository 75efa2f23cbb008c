-- A decision about siblings. ARGV from 4: what was decided, then origin and version of each sibling it has seen.
-- Answers 1, or 0 where there is nothing left to decide about, or the own region wrote meanwhile.
load({'m'})
clear_if_over()
local field, seen = fields.m, {}
for i = 5, #ARGV, 2 do seen[ARGV[i]] = tonumber(ARGV[i + 1]) end
local decides = is_live(field.cells)
for i = 1, #field.cells do
  local c = field.cells[i]
  -- An origin has one assignment: the new one would take the place of one that nobody has decided about.
  if c.o == own and is_assigned(c) and c.av > (seen[own] or 0) then decides = false end
end
if decides then
  for i = 1, #field.cells do
    local c = field.cells[i]
    if is_assigned(c) and c.av <= (seen[c.o] or 0) and retract_cell(c) then c.moved = true end
  end
  local c = cell_of(field.cells, own)
  c.av, c.ap, c.moved = version(), ARGV[4], true
  touch(field)
end
local failed = commit(true)
if failed then return failed end
publish()
return decides and 1 or 0
