-- Stores a copy. KEYS[3]: the key. ARGV: epoch, round (1 early, 2 final), and the value unless the key is gone. Answers 1 when
-- it was stored, 0 when what is there is as good.
if state ~= 'receiving' or epoch ~= at then return refuse() end
local key, round, value = KEYS[3], tonumber(ARGV[2]), ARGV[3]
local had = tonumber(redis.call('HGET', held, key) or '') or 0
if round <= had then return 0 end
if value then
  local blank = value:find(' ', 1, true)
  redis.call('RESTORE', key, value:sub(1, blank - 1), value:sub(blank + 1), 'REPLACE', 'ABSTTL')
else
  redis.call('UNLINK', key)
end
redis.call('HSET', held, key, round)
return 1
