-- Forgets the dead cells of fields that did not change since the mark. KEYS: meta, index, expiring, then cells of each key.
-- ARGV: replid, incarnation, the mark's number, whether these are the last ('1'), then for each key: its index entry, how many
-- fields, and those. Answers how many cells were forgotten, or nothing when another mark is pending by now.
local mark, seen = string.match(redis.call('HGET', KEYS[1], 'mark') or '', '^(%d+)|(.*)$')
if mark ~= ARGV[3] then return false end
mark = tonumber(mark)
for origin, version in string.gmatch(seen, '([^ ,]+) (%d+)') do
  local present = tonumber(redis.call('HGET', KEYS[1], 'collected:' .. origin) or 0)
  if tonumber(version) > present then redis.call('HSET', KEYS[1], 'collected:' .. origin, version) end
end
local forgotten, at = 0, 5

-- The cells that are left of a stored field, and whether any died.
local function split(stored)
  local cells, live = parse_stored(stored), {}
  for i = 1, #cells do
    if not is_dead(cells[i]) then live[#live + 1] = cells[i] end
  end
  return live, #cells - #live
end

local function collect_key(cells_key, entry, names)
  local got = redis.call('HMGET', cells_key, unpack(names))
  local gone, kept, done = {}, {}, {}
  for i = 1, #names do
    local stored, member = got[i], dying_member(entry, names[i])
    local live, dead = {}, 0
    if stored then live, dead = split(stored) end
    local stamp = stored and take('>I6', stored, 2) or 0
    if stamp > mark and dead > 0 then
      -- They may have died after the mark: the next one takes them along.
      redis.call('ZADD', KEYS[3], DYING + stamp, member)
    else
      done[#done + 1] = member
      if dead > 0 then
        forgotten = forgotten + dead
        if #live == 0 then
          gone[#gone + 1] = names[i]
        else
          kept[#kept + 1] = names[i]
          kept[#kept + 1] = string.sub(stored, 1, 7) .. render_all(live, 0)
        end
      end
    end
  end
  if #kept > 0 then redis.call('HSET', cells_key, unpack(kept)) end
  if #done > 0 then redis.call('ZREM', KEYS[3], unpack(done)) end
  if #gone == 0 then return end
  redis.call('HDEL', cells_key, unpack(gone))
  local left = redis.call('HLEN', cells_key)
  -- Only the number of the last change is left.
  if left == 1 and redis.call('HEXISTS', cells_key, 's') == 1 then
    redis.call('UNLINK', cells_key)
    left = 0
  end
  if left == 0 then
    redis.call('ZREM', KEYS[2], entry)
    redis.call('ZREM', KEYS[3], entry)
  end
end

for i = 4, #KEYS do
  local entry, count = ARGV[at], tonumber(ARGV[at + 1])
  local names = {}
  for j = 1, count do names[j] = ARGV[at + 1 + j] end
  collect_key(KEYS[i], entry, names)
  at = at + 2 + count
end
if ARGV[4] == '1' then redis.call('HDEL', KEYS[1], 'mark') end
return forgotten
