-- ARGV[2]: the incarnation in force. KEYS[1]: the partition's meta hash.
local record = redis.call('HGET', KEYS[1], 'record')
if not record or string.sub(record, 1, 16) ~= ARGV[2] then
  return {err = "STALE the region's history is not the one on record"}
end
