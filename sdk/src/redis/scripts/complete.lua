-- Ends a resync at the receiver: only what was read before the first slice is stored. KEYS: meta, aside.
-- ARGV from 8: number, id, own origin's text, the plan's vector as bytes, then its pairs with origins as text.
redis.call('HDEL', KEYS[1], 'resync:' .. ARGV[3])
-- After a walk of every key what the sender had collected is gone here, too, without a trace.
local raised = plan_above(ARGV[7]) == 0 and {'applied:', 'seen:', 'collected:'} or {'applied:', 'seen:'}
for i = 12, #ARGV, 2 do
  local origin, version = ARGV[i], tonumber(ARGV[i + 1])
  if origin ~= ARGV[10] then
    for _, prefix in ipairs(raised) do
      local present = tonumber(redis.call('HGET', KEYS[1], prefix .. origin) or 0)
      if version > present then redis.call('HSET', KEYS[1], prefix .. origin, ARGV[i + 1]) end
    end
  end
end
-- Entries that were set aside, and that the sender held.
local entries, remain = redis.call('HKEYS', KEYS[2]), {}
for i = 1, #entries do
  local origin, id = string.match(entries[i], '^(.*) (%d+)$')
  local applied = tonumber(redis.call('HGET', KEYS[1], 'applied:' .. origin) or 0)
  if tonumber(id) <= applied then redis.call('HDEL', KEYS[2], entries[i]) else remain[origin] = true end
end
for i = 1, #entries do
  local origin = string.match(entries[i], '^(.*) %d+$')
  if not remain[origin] then redis.call('HDEL', KEYS[1], 'hold:' .. origin) end
end
local cursor = redis.call('HGET', KEYS[1], 'cursor:' .. ARGV[3])
local incarnation, at = string.match(cursor or '', '^(%x+) (%d+) ')
if incarnation ~= ARGV[4] or tonumber(at) < tonumber(ARGV[8]) then
  redis.call('HSET', KEYS[1], 'cursor:' .. ARGV[3], ARGV[4] .. ' ' .. ARGV[8] .. ' ' .. ARGV[9])
end
meet()
redis.call('HSET', KEYS[1], 'resynced:' .. ARGV[3], ARGV[4] .. ' ' .. ARGV[8], 'vector:' .. ARGV[3], ARGV[11], 'due', '1')
count_shipped()
return {'done'}
