-- Progress is the plan, a line end, and the last key that was joined.
local plan = state[3] and string.match(state[3], '^([^\n]*)\n')
if plan ~= ARGV[7] then return {'lost'} end
