-- Notes how far a destination has this log, and trims what every member has, or what is over the cap.
-- KEYS: meta, log, numbers. ARGV: replid, incarnation, the position's incarnation, destination, the position's number
-- and id, cap, other members.
if ARGV[3] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'ack:' .. ARGV[4], ARGV[2] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6])
local held, held_id
for i = 8, #ARGV do
  local ack = redis.call('HGET', KEYS[1], 'ack:' .. ARGV[i])
  local incarnation, n, id = string.match(ack or '', '^(%x+) (%d+) (%d+)$')
  if incarnation ~= ARGV[2] then n, id = 0, 0 end
  if not held or tonumber(n) < held then held, held_id = tonumber(n), tonumber(id) end
end
if held and held > 0 then redis.call('XTRIM', KEYS[2], 'MINID', id_of(held_id + 1)) end
redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[7])
return 1
