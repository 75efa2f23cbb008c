-- A step of a clear that has too many fields for one. ARGV from 4: the grace in milliseconds after the expiry that has to
-- be over (else ''), '1' for the last step, which takes the expiry along, then members. Answers how many were visible, or
-- -1 where the key is not past its expiry (any more).
local names = fields_named(6, 1)
load_fields(names)
local at = deadline(fields.x.cells)
over = at and floor(server_time() / 1000) >= at
if ARGV[4] ~= '' and not (over and floor(server_time() / 1000) >= at + tonumber(ARGV[4])) then return -1 end
local removed = 0
for i = 1, #names do
  local field = fields[names[i]]
  if not over and is_live(field.cells) then removed = removed + 1 end
  retract(field)
end
if ARGV[5] == '1' then retract(fields.x) else retract_expiry_of_nothing(removed) end
local failed = commit()
if failed then return failed end
publish()
return removed
