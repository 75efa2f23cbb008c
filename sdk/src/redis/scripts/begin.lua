-- Begins a resync at the sender: a vector entry closes all before it, later changes have higher numbers.
-- KEYS: meta, log, numbers, aside. ARGV: replid, incarnation.
-- Answers {number, version, meta as pairs, fields of entries set aside}.
local n, v = append_vector(meta_map(), KEYS[2], KEYS[3], tonumber(string.match(record, '^%x+ (%d+)')))
if not n then return {err = "STALE the region's history is not the one on record"} end
return {string.format('%.0f', n), string.format('%.0f', v), redis.call('HGETALL', KEYS[1]), redis.call('HKEYS', KEYS[4])}
