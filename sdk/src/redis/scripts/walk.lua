-- Cells of keys that changed above a number. KEYS: meta, log, then cells. ARGV: replid, incarnation, the number.
-- Answers {for each key its hash, or false when it did not change; fewer than asked for when they grow large, the fields of
-- the meta hash that say what was met and collected, in pairs, id of the last own entry or false}.
local above, out, size = tonumber(ARGV[3]), {}, 0
for i = 3, #KEYS do
  local got = redis.call('HMGET', KEYS[i], 's', 'm', 'x')
  -- A string has no `s`: the stamps of its fields say when it changed.
  local seq = tonumber(got[1] or 0)
  for j = 2, 3 do
    if got[j] then seq = math.max(seq, (struct.unpack('>I6', got[j], 2))) end
  end
  local hash = seq > above and redis.call('HGETALL', KEYS[i]) or false
  out[i - 2] = hash
  if hash then
    for j = 1, #hash do size = size + #hash[j] end
  end
  if size > 1048576 then break end
end
local meta, met = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #meta, 2 do
  if string.find(meta[i], '^seen:') or string.find(meta[i], '^collected:') then
    met[#met + 1] = meta[i]
    met[#met + 1] = meta[i + 1]
  end
end
local entry = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {out, met, entry[1] and entry[1][1] or false}
