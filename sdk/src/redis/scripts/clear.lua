-- DEL, GETDEL and the sweeper. ARGV from 6: answer the previous value?, and for the sweeper the grace in milliseconds
-- after the expiry (else ''). Answers {existed, previous}.
load_all()
local existed = had_data and not over
local previous = false
if ARGV[6] == '1' and existed and fields.m then previous = value(kind, fields.m.cells) or false end
if ARGV[7] ~= '' then
  local at = deadline(fields.x.cells)
  existed = at and floor(server_time() / 1000) >= at + tonumber(ARGV[7]) or false
  if not existed then return {0, false} end
end
clear()
local failed = commit()
if failed then return failed end
publish_cleared()
return {existed and 1 or 0, previous}
