-- Notes how far a destination has this log, and trims what every member has, or what is over the cap.
-- KEYS: meta, log, numbers. ARGV: replid, incarnation, the position's incarnation, destination, the position's number
-- and id, cap, other members.
if ARGV[3] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'ack:' .. ARGV[4], ARGV[2] .. ' ' .. ARGV[5] .. ' ' .. ARGV[6])
-- Not only the caller's members: its configuration may be older than the last region's joining.
local members, held, held_id = {}, nil, nil
for i = 8, #ARGV do members[ARGV[i]] = true end
local known = redis.call('HKEYS', KEYS[1])
for i = 1, #known do
  local region = string.match(known[i], '^ack:(.*)$') or string.match(known[i], '^known:(.*)$')
  if region then members[region] = true end
end
for region in pairs(members) do
  local ack = redis.call('HGET', KEYS[1], 'ack:' .. region)
  local incarnation, n, id = string.match(ack or '', '^(%x+) (%d+) (%d+)$')
  if incarnation ~= ARGV[2] then n, id = 0, 0 end
  if not held or tonumber(n) < held then held, held_id = tonumber(n), tonumber(id) end
end
if held and held > 0 then redis.call('XTRIM', KEYS[2], 'MINID', id_of(held_id + 1)) end
redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[7])
return 1
