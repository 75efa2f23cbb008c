-- Where the partition stands, for a session. KEYS: meta, log. ARGV: replid, incarnation.
-- Answers {record, id of the last own entry as a version, time, pairs of the meta hash that say what is held}.
local all, out, last = redis.call('HGETALL', KEYS[1]), {}, '0'
for i = 1, #all, 2 do
  local what = string.match(all[i], '^(%a+):')
  if what == 'applied' or what == 'seen' or what == 'known' then
    out[#out + 1] = all[i]
    out[#out + 1] = all[i + 1]
  elseif what == 'ack' then
    -- What every member has is trimmed: then they say how far it went.
    local incarnation, id = string.match(all[i + 1], '^(%x+) %d+ (%d+)$')
    if incarnation == ARGV[2] and tonumber(id) > tonumber(last) then last = id end
  end
end
local entry = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
if entry[1] then
  local ms, rest = string.match(entry[1][1], '^(%d+)-(%d+)$')
  last = string.format('%.0f', ms * 1000 + rest)
end
local time = redis.call('TIME')
return {record, last, string.format('%.0f', time[1] * 1000000 + time[2]), out}
