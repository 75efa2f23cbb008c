-- What a mover, or whoever has read the record, says with an epoch.
local epoch = tonumber(ARGV[1])
if epoch < at then return refuse() end

local function set(new) redis.call('SET', gate, write(epoch) .. ' ' .. new) end

local function empty()
  for _, key in ipairs(redis.call('HKEYS', held)) do redis.call('UNLINK', key) end
  redis.call('DEL', held)
end
