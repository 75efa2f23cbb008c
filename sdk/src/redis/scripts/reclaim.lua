-- Lets the current incarnation spend the rights of closed ones of its region. KEYS: meta. ARGV from 3: incarnations.
-- Answers all that it inherits from.
local known, all = {}, {}
for hex in string.gmatch(redis.call('HGET', KEYS[1], 'inherited') or '', '%x+') do
  known[hex], all[#all + 1] = true, hex
end
for i = 3, #ARGV do
  if not known[ARGV[i]] and ARGV[i] ~= ARGV[2] then known[ARGV[i]], all[#all + 1] = true, ARGV[i] end
end
if #all > 0 then redis.call('HSET', KEYS[1], 'inherited', table.concat(all, ' ')) end
return all
