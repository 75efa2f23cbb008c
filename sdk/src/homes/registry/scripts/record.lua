-- The record of a user's home at KEYS[1]; with ARGV, what it was and what it shall be, it is changed if it is as it was.
-- Answers 1 when it was changed, and the record, empty when there is none.
local now = redis.call('GET', KEYS[1]) or ''
if not ARGV[1] or now ~= ARGV[1] then return { 0, now } end
redis.call('SET', KEYS[1], ARGV[2])
return { 1, ARGV[2] }
