-- DEL, GETDEL and the sweeper. ARGV from 4: answer the previous value?, and for the sweeper the grace in milliseconds
-- after the expiry (else ''). Answers {existed, previous}.
if ARGV[5] ~= '' then
  load_fields({})
  local at = deadline(fields.x.cells)
  if not at or floor(server_time() / 1000) < at + tonumber(ARGV[5]) then return {0, false} end
end
if is_large() then return TOO_MANY_FIELDS end
load_all()
local existed = ARGV[5] ~= '' or had_data and not over
local previous = false
if ARGV[4] == '1' and existed and fields.m then previous = value(kind, fields.m.cells) or false end
clear()
local failed = commit()
if failed then return failed end
publish_cleared()
return {existed and 1 or 0, previous}
