-- Takes a mark, if anything is dead and none is pending: a number of the log, which a vector entry closes, and what had been
-- met by then. KEYS: meta, log, numbers, expiring. ARGV: replid, incarnation, own origin's text. Answers whether it did.
if redis.call('HEXISTS', KEYS[1], 'mark') == 1 then return 0 end
if #redis.call('ZRANGEBYSCORE', KEYS[4], DYING, '+inf', 'LIMIT', 0, 1) == 0 then return 0 end
local meta = meta_map()
local n, v = append_vector(meta, KEYS[2], KEYS[3], tonumber(string.match(record, '^%x+ (%d+)')))
if not n then return {err = "STALE the region's history is not the one on record"} end
local seen = {ARGV[3] .. ' ' .. string.format('%.0f', v)}
for field, version in pairs(meta) do
  local origin = string.match(field, '^seen:(.*)$')
  if origin and origin ~= ARGV[3] then
    seen[#seen + 1] = origin .. ' ' .. version
    -- What was met without ever being held: resyncs that begin from now on are asked for it.
    redis.call('HSETNX', KEYS[1], 'applied:' .. origin, '0')
  end
end
redis.call('HSET', KEYS[1], 'mark', string.format('%.0f', n) .. '|' .. table.concat(seen, ','))
return 1
