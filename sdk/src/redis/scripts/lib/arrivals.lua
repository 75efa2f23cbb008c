-- The order in which entries of feeds arrived here: for each feed a sorted set of ids by a number that the meta hash counts for
-- all of them. See the engine's `partition/arrivals.rs`: an entry keeps its number while it lives.
local FEED = 16

local function arrive(meta, arrivals, id, cells)
  if not is_live(cells) then
    redis.call('ZREM', arrivals, id)
  elseif not redis.call('ZSCORE', arrivals, id) then
    redis.call('ZADD', arrivals, redis.call('HINCRBY', meta, 'last-arrival', 1), id)
  end
end
