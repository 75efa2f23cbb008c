-- A piece of the log. KEYS: meta, log, numbers. ARGV: replid, incarnation, the id to read behind, how many entries.
-- Answers {record, epoch, number of the last entry, entries}; fewer than asked for when they grow large.
local number = redis.call('GET', KEYS[3])
if not number then return {err = "STALE the region's history is not the one on record"} end
local entries, size, from, left = {}, 0, ARGV[3], tonumber(ARGV[4])
while left > 0 and size < 1048576 do
  local some = redis.call('XRANGE', KEYS[2], '(' .. from, '+', 'COUNT', math.min(left, 50))
  for i = 1, #some do
    entries[#entries + 1] = some[i]
    for j = 1, #some[i][2] do size = size + #some[i][2][j] end
  end
  if #some < 50 then break end
  from, left = some[#some][1], left - #some
end
return {record, redis.call('HGET', KEYS[1], 'epoch'), number, entries}
