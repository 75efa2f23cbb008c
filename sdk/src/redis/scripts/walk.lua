-- Cells of keys that changed above a number. KEYS: meta, log, then cells. ARGV: replid, incarnation, the number.
-- Answers {for each key its hash, or false when it did not change; fewer than asked for when they grow large, the fields of
-- the meta hash that say what was met and collected, in pairs, id of the last own entry or false}.
local above, out, size = tonumber(ARGV[3]), {}, 0
for i = 3, #KEYS do
  -- No field is above what its key announced, most are below it: their own numbers decide. A string announces nothing.
  local bound = redis.call('HGET', KEYS[i], 's')
  local hash, moved = false, false
  if not bound or (tonumber(string.match(bound, '^%d+')) or math.huge) > above then
    hash = redis.call('HGETALL', KEYS[i])
    for j = 1, #hash, 2 do moved = moved or (hash[j] ~= 's' and struct.unpack('>I6', hash[j + 1], 2) > above) end
  end
  hash = moved and hash
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
