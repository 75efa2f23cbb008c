-- Joins a slice at the receiver. KEYS: meta, index, expiring, log, number, then cells and view of each key, and arrivals
-- of each feed.
-- ARGV from 8: last key walked ('' to leave the progress), own origin's bytes, and four counts: pairs of the vector,
-- pairs of `seen`, pairs of what the sender collected, keys; then those.
local vector_end = 13 + 2 * ARGV[10]
local seen_end = vector_end + 2 * ARGV[11]
local collected_end = seen_end + 2 * ARGV[12]
local meta = meta_map()
local known = applied_of(meta)
known[ARGV[9]] = math.huge
local covered = vector_from(14, vector_end)
-- Either this region holds all that the sender may have collected, or it is shipped every key, and what the sender
-- collected is below the plan's vector.
local collected = vector_from(seen_end + 1, collected_end)
local function within(held)
  for origin, version in pairs(collected) do
    if version > (held[origin] or 0) then return false end
  end
  return true
end
if not (plan_above(ARGV[7]) == 0 and within(covered)) and not within(known) then return {'lost'} end
local passed = passed_of(meta)
arrivals_at = 6 + 2 * ARGV[13]
for i = 1, tonumber(ARGV[13]) do
  local block = ARGV[collected_end + i]
  join_key(block, KEYS[4 + 2 * i], KEYS[5 + 2 * i], known_of_key(block, known, passed), covered)
end
note(vector_from(vector_end + 1, seen_end))
if tonumber(ARGV[13]) > 0 then redis.call('HSET', KEYS[1], 'due', '1') end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'resync:' .. ARGV[3], ARGV[7] .. '\n' .. ARGV[8]) end
return {'done'}
