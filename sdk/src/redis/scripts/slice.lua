-- Joins a slice at the receiver. KEYS: meta, index, expiring, log, number, then cells and view of each key.
-- ARGV from 8: last key walked ('' to leave the progress), own origin's bytes, and three counts: pairs of the vector,
-- pairs of `seen`, keys; then those.
local vector_end = 12 + 2 * ARGV[10]
local seen_end = vector_end + 2 * ARGV[11]
local known = applied_of(meta_map())
known[ARGV[9]] = math.huge
local covered = vector_from(13, vector_end)
local number_now = tonumber(redis.call('GET', KEYS[5]))
for i = 1, tonumber(ARGV[12]) do
  join_key(ARGV[seen_end + i], KEYS[4 + 2 * i], KEYS[5 + 2 * i], number_now, known, covered)
end
note(vector_from(vector_end + 1, seen_end))
if tonumber(ARGV[12]) > 0 then redis.call('HSET', KEYS[1], 'due', '1') end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'resync:' .. ARGV[3], ARGV[7] .. '\n' .. ARGV[8]) end
return {'done'}
