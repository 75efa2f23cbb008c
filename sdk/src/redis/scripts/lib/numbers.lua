-- KEYS[5]: the numbers of the log. Without them a join cannot stamp what it stores: the incarnation is over, as for a write.
local number_now = tonumber(redis.call('GET', KEYS[5]))
if not number_now then return {err = "STALE the region's history is not the one on record"} end
