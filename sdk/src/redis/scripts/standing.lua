-- Where the partition stands, for a session. KEYS: meta, log. ARGV: replid, incarnation.
-- Answers {record, id of the last own entry or false, TIME, the fields of the meta hash that say who holds what, in pairs}.
-- What they mean is told apart by the client: patterns cost a script more than everything else here.
local all, out = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local first = string.byte(all[i])
  -- `applied`, `ack`, `epoch`, `known`, `seen`.
  if first == 97 or first == 101 or first == 107 or first == 115 then
    out[#out + 1] = all[i]
    out[#out + 1] = all[i + 1]
  end
end
local entry = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
return {record, entry[1] and entry[1][1] or false, redis.call('TIME'), out}
