-- Begins a resync at the sender: a vector entry closes all before it, later changes have higher numbers.
-- KEYS: meta, log, numbers. ARGV: replid, incarnation, own origin's bytes.
-- Answers {record, epoch, number, version, vector as pairs}.
local meta = meta_map()
local n, v = append_vector(meta, KEYS[2], KEYS[3], tonumber(string.match(record, '^%x+ (%d+)')))
if not n then return {err = "STALE the region's history is not the one on record"} end
local vector, origins = applied_of(meta)
local pairs_ = {ARGV[3], string.format('%.0f', v)}
for i = 1, #origins do
  pairs_[#pairs_ + 1] = origins[i]
  pairs_[#pairs_ + 1] = string.format('%.0f', vector[origins[i]])
end
return {record, meta.epoch, string.format('%.0f', n), string.format('%.0f', v), pairs_}
