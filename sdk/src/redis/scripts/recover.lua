-- Another try with an entry that had been set aside. KEYS as in join.lua, with at most one key.
-- ARGV: replid, incarnation here, origin's text, origin's bytes, own origin's bytes, the entry's id, a block or ''.
local applied = tonumber(redis.call('HGET', KEYS[1], 'applied:' .. ARGV[3]) or 0)
if ARGV[7] ~= '' then
  arrivals_at = 9
  local known = {[ARGV[4]] = applied, [ARGV[5]] = math.huge}
  join_key(ARGV[7], KEYS[7], KEYS[8], known)
  note({})
end
redis.call('HDEL', KEYS[6], ARGV[3] .. ' ' .. ARGV[6])
local entries = redis.call('HKEYS', KEYS[6])
for i = 1, #entries do
  if string.match(entries[i], '^(.*) %d+$') == ARGV[3] then return 1 end
end
redis.call('HDEL', KEYS[1], 'hold:' .. ARGV[3])
return 1
