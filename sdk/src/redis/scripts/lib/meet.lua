-- What a completed resync tells of incarnations: which are current, and of which closed ones the sender has now shipped all
-- it holds.
local current, set_aside = string.match(ARGV[7], '|([^|]*)|([^|]*)$')
local told, own_region = {}, string.match(ARGV[10], '^(.*)/')
for region, incarnation, opening in string.gmatch(current, '([^ ,]+) (%x+) (%d+)') do told[region] = {incarnation, opening} end
told[ARGV[3]] = {ARGV[4], ARGV[5]}

local function known_of(region)
  local field = region == own_region and 'record' or 'known:' .. region
  return string.match(redis.call('HGET', KEYS[1], field) or '', '^(%x+) (%d+)')
end

-- A log that is closed is not read any more, and its vectors count no more. A region that lost data may have given some away
-- before, to a member that was asked already: of all closed incarnations everybody is asked again.
local function meet()
  local is_new = false
  for region, news in pairs(told) do
    local incarnation, opening = known_of(region)
    if region ~= own_region and (not opening or tonumber(opening) < tonumber(news[2])) then
      redis.call('HSET', KEYS[1], 'known:' .. region, news[1] .. ' ' .. news[2])
      if incarnation ~= news[1] then
        is_new = true
        redis.call('HDEL', KEYS[1], 'vector:' .. region)
        local cursor = redis.call('HGET', KEYS[1], 'cursor:' .. region)
        if cursor and string.sub(cursor, 1, 16) ~= news[1] then redis.call('HDEL', KEYS[1], 'cursor:' .. region) end
      end
    end
  end
  if not is_new then return end
  local fields = redis.call('HKEYS', KEYS[1])
  for i = 1, #fields do
    if string.find(fields[i], '^closing:') then redis.call('HDEL', KEYS[1], fields[i]) end
  end
end

-- The sender knew that they are closed, and takes no more of them but by a resync, like this one.
local function count_shipped()
  local fields = redis.call('HKEYS', KEYS[1])
  for i = 1, #fields do
    local origin, region, incarnation = string.match(fields[i], '^applied:((.*)/(%x+))$')
    if origin then
      local here, opening = known_of(region)
      local there = told[region]
      if here and here ~= incarnation and there and there[1] ~= incarnation and tonumber(there[2]) >= tonumber(opening)
        and not string.find(',' .. set_aside .. ',', ',' .. origin .. ',', 1, true) then
        local shipped = redis.call('HGET', KEYS[1], 'closing:' .. origin) or ','
        if not string.find(shipped, ',' .. ARGV[3] .. ',', 1, true) then
          redis.call('HSET', KEYS[1], 'closing:' .. origin, shipped .. ARGV[3] .. ',')
        end
      end
    end
  end
end
