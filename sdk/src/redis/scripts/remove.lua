-- SREM, HDEL, ZREM. ARGV from 4: members. Answers how many were visible.
local names = fields_named(4, 1)
local refused = load(names)
if refused then return refused end
clear_if_over()
local removed = 0
for i = 1, #names do
  local field = fields[names[i]]
  if is_live(field.cells) then
    removed = removed + 1
    retract(field)
  end
end
retract_expiry_of_nothing(removed)
local failed = commit()
if failed then return failed end
publish()
return removed
