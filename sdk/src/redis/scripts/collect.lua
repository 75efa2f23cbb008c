-- Forgets the dead cells of fields that did not change since the mark. KEYS: meta, index, expiring, then cells of each key.
-- ARGV: replid, incarnation, the mark's number, whether these are the last ('1'), how many incarnations are closed and not
-- settled, each of those as its cells and as the mark name it, then for each key: its index entry, how many fields, and those.
-- Answers how many cells were forgotten, and how many incarnations the mark has to wait for from now on; or nothing when
-- another mark is pending by now.
local mark, seen = string.match(redis.call('HGET', KEYS[1], 'mark') or '', '^(%d+)|(.*)$')
if mark ~= ARGV[3] then return false end
mark = tonumber(mark)
for origin, version in string.gmatch(seen, '([^ ,]+) (%d+)') do
  local present = tonumber(redis.call('HGET', KEYS[1], 'collected:' .. origin) or 0)
  -- What the mark wants settled is collected as settled, and no sooner: another process may have written that it does since
  -- this one has looked. No region that has not settled it could take a resync from here.
  if version ~= '9007199254740991' and tonumber(version) > present then redis.call('HSET', KEYS[1], 'collected:' .. origin, version) end
end
local forgotten, at = 0, 6
local unsettled, awaited = {}, {}
for _ = 1, tonumber(ARGV[5]) do
  unsettled[ARGV[at]] = ARGV[at + 1]
  at = at + 2
end

-- The cells that are left of a stored field, how many died, and whose sums are among those that may yet come back.
local function split(stored)
  local cells, live, sums = parse_stored(stored), {}, {}
  for i = 1, #cells do
    local c = cells[i]
    if not is_dead(c) then
      live[#live + 1] = c
    elseif c.bv and unsettled[c.o] then
      sums[#sums + 1] = unsettled[c.o]
    end
  end
  return live, #cells - #live, sums
end

local function collect_key(cells_key, entry, names)
  local got = redis.call('HMGET', cells_key, unpack(names))
  local gone, kept, done = {}, {}, {}
  for i = 1, #names do
    local stored, member = got[i], dying_member(entry, names[i])
    local live, dead, sums = {}, 0, {}
    if stored then live, dead, sums = split(stored) end
    local stamp = stored and take('>I6', stored, 2) or 0
    if stamp > mark and dead > 0 then
      -- They may have died after the mark: the next one takes them along.
      redis.call('ZADD', KEYS[3], DYING + stamp, member)
    elseif #sums > 0 then
      -- The incarnation may come back with more of that run, and only its base tells how much of it was removed.
      for j = 1, #sums do awaited[sums[j]] = true end
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
local needs, waiting = {}, 0
for origin, version in string.gmatch(seen, '([^ ,]+) (%d+)') do
  if not awaited[origin] then needs[#needs + 1] = origin .. ' ' .. version end
end
for origin in pairs(awaited) do
  waiting = waiting + 1
  needs[#needs + 1] = origin .. ' 9007199254740991'
end
if waiting > 0 then
  redis.call('HSET', KEYS[1], 'mark', ARGV[3] .. '|' .. table.concat(needs, ','))
elseif ARGV[4] == '1' then
  redis.call('HDEL', KEYS[1], 'mark')
end
return {forgotten, waiting}
