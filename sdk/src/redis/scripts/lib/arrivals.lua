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

-- The error of somebody else's value in the place of a feed's arrivals, which names it: a script that met it half way could
-- neither go on nor say what it has done.
local function not_an_order(arrivals)
  local holds = redis.call('TYPE', arrivals).ok
  if holds == 'zset' or holds == 'none' then return end
  return {err = 'WRONGTYPE ' .. arrivals .. ' holds a ' .. holds .. ' of somebody else, and not the order in which entries ' ..
    'arrived: nothing was done; DEL it, and entries that are there are read by their ids'}
end
