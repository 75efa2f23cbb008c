-- Writes what this region holds into its log, if data arrived since it last did, or at once if a third argument says so.
-- KEYS: meta, log, numbers. ARGV: replid, incarnation.
if not ARGV[3] and redis.call('HEXISTS', KEYS[1], 'due') == 0 then return 0 end
local n = append_vector(meta_map(), KEYS[2], KEYS[3], tonumber(string.match(record, '^%x+ (%d+)')))
if not n then return {err = "STALE the region's history is not the one on record"} end
return 1
