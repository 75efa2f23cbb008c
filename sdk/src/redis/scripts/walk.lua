-- Cells of keys that changed above a number. KEYS: meta, then cells. ARGV: replid, incarnation, the number.
-- Answers for each key its hash, or false when it did not change.
local above, out = tonumber(ARGV[3]), {}
for i = 2, #KEYS do
  local got = redis.call('HMGET', KEYS[i], 's', 'm', 'x')
  -- A string has no `s`: the stamps of its fields say when it changed.
  local seq = tonumber(got[1] or 0)
  for j = 2, 3 do
    if got[j] then seq = math.max(seq, (struct.unpack('>I6', got[j], 2))) end
  end
  out[i - 1] = seq > above and redis.call('HGETALL', KEYS[i]) or false
end
return out
