-- What a sync driver needs to know, in one step. KEYS: meta, log, numbers, aside.
-- Answers {meta as pairs, number of the last entry, last id given out, fields of entries set aside}.
local last = '0-0'
if redis.call('EXISTS', KEYS[2]) == 1 then
  -- Not that of the last entry: a write may take several versions, and the entry may have been trimmed.
  local info = redis.call('XINFO', 'STREAM', KEYS[2])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last = info[i + 1] end
  end
end
return {redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[3]), last, redis.call('HKEYS', KEYS[4])}
