-- Cells of keys that changed above a number. KEYS: meta, then cells. ARGV: replid, incarnation, the number.
-- Answers for each key its hash, or false when it did not change.
local above, out = tonumber(ARGV[3]), {}
for i = 2, #KEYS do
  local seq = redis.call('HGET', KEYS[i], 's')
  out[i - 1] = seq and tonumber(seq) > above and redis.call('HGETALL', KEYS[i]) or false
end
return out
