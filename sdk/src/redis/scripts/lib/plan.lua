-- The steps of a resync at the receiver name its plan. ARGV: replid, incarnation here, sender's region, its
-- incarnation, its opening number, its epoch, and the plan as text.
local state = redis.call('HMGET', KEYS[1], 'epoch', 'known:' .. ARGV[3], 'resync:' .. ARGV[3])
if state[1] ~= ARGV[6] then return {'epoch', state[1]} end
if state[2] then
  local incarnation, opening = string.match(state[2], '^(%x+) (%d+)')
  if incarnation ~= ARGV[4] and tonumber(opening) >= tonumber(ARGV[5]) then 
    -- Equal numbers settle nothing: the sender's next opening has to be higher than both.
    return {'superseded', string.format('%.0f', math.max(tonumber(opening), tonumber(ARGV[5]) + 1))}
  end
end

-- Above which number keys are shipped; zero is every key.
local function plan_above(plan) return tonumber((string.match(plan, '^[^|]*|[^|]*|[^|]*|[^|]*|[^|]*|(%d+)|'))) end
