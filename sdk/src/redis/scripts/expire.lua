-- EXPIRE and PERSIST. ARGV from 4: mode (in, at, never), milliseconds. Answers whether it applied.
local at = deadline_from(ARGV[4], ARGV[5])
if not at then return {err = 'ERR invalid expire time'} end
local refused = load({})
if refused then return refused end
local exists = not over and redis.call('EXISTS', KEYS[2]) == 1
local past = at ~= 'inf' and floor(server_time() / 1000) >= tonumber(at)
if exists and past then
  if is_large() then return TOO_MANY_FIELDS end
  load_all()
  clear()
elseif over then
  clear_if_over()
elseif exists then
  local present = deadline(fields.x.cells)
  if at == 'inf' and (not present or present == math.huge) then return 0 end
  assign(fields.x, at)
end
local failed = commit()
if failed then return failed end
if exists and past then publish_cleared() else publish() end
return exists and 1 or 0
