-- Notes at the receiver that a resync is under way. KEYS: meta. ARGV[8]: keys up to this number are not shipped.
-- Only a receiver that still remembers them may do without: it may have lost them since the plan was made.
if tonumber(ARGV[8]) > 0 then
  local remembered = redis.call('HGET', KEYS[1], 'resynced:' .. ARGV[3]) or ''
  local incarnation, number = string.match(remembered, '^(%x+) (%d+)$')
  if incarnation ~= ARGV[4] or tonumber(number) < tonumber(ARGV[8]) then return {'lost'} end
end
-- Settled, and yet it lives: then it is held no further than what it ships now.
local applied = 'applied:' .. ARGV[3] .. '/' .. ARGV[4]
if redis.call('HGET', KEYS[1], applied) == '9007199254740991' then redis.call('HDEL', KEYS[1], applied) end
redis.call('HSET', KEYS[1], 'resync:' .. ARGV[3], ARGV[7] .. '\n')
return {'done'}
