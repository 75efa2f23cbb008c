-- SET, SADD, HSET, ZADD. ARGV from 4: how, then members and payloads. `how` is presence, order, retention mode, its
-- milliseconds and whether to answer the previous value, in one text: each argument costs the server. A single entry without
-- conditions, which clears the expiry of a string and keeps another's, leaves `how` out, and what it has only one of.
-- Answers {assigned, added, changed, previous}.
if #ARGV <= 5 then
  local member, payload = ARGV[4], ARGV[5]
  if not payload then
    if kind == 2 then payload = '' else member, payload = '', member end
  end
  ARGV[4], ARGV[5], ARGV[6] = kind == 1 and '::clear:0:0' or '::keep:0:0', member, payload
end
local presence, order, retention, millis, asked = string.match(ARGV[4], '^(%a*):(%a*):(%a+):(%-?%d+):([01])$')
if kind == FIRST then presence = 'NX' end
order = ORDERS[kind] or order
local scored = kind == 4 or ORDERS[kind]
local names = fields_named(5, 2)
local refused = load(names)
if refused then return refused end
local at
if retention ~= 'keep' and retention ~= 'clear' then
  at = deadline_from(retention, millis)
  if not at then return {err = 'ERR invalid expire time'} end
end
local previous = false
if asked == '1' and not over then previous = value(kind, fields.m.cells) or false end
clear_if_over()
local assigned, added, changed = 0, 0, 0
for i = 5, #ARGV, 2 do
  local field, payload = fields['m' .. ARGV[i]], ARGV[i + 1]
  local present = is_live(field.cells)
  local allowed = presence == '' or (presence == 'NX' and not present) or (presence == 'XX' and present)
  local old = scored and present and points(kind, field.cells)
  if allowed and present and order ~= '' then
    if order == 'GT' then allowed = to_score(payload) > (old or 0) else allowed = to_score(payload) < (old or 0) end
  end
  if allowed then
    assigned = assigned + 1
    if not present then added = added + 1 end
    if not present or (scored and old ~= to_score(payload)) then changed = changed + 1 end
    assign(field, payload)
  end
end
if assigned > 0 then
  if at then assign(fields.x, at) elseif retention == 'clear' then retract(fields.x) end
end
local failed = commit(kind ~= 2)
if failed then return failed end
publish()
return {assigned, added, changed, previous}
