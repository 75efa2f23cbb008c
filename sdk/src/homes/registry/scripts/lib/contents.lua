-- The user's keys: name, then when it expires in milliseconds since 1970 (0: never), a blank, and the DUMP. Nothing when
-- they are larger than the limit: before anything is dumped, for a huge dump would hold everybody up.
local function contents(limit)
  local all, memory, size = {}, 0, 0
  local keys = redis.call('HKEYS', held)
  for _, key in ipairs(keys) do
    memory = memory + (redis.call('MEMORY', 'USAGE', key) or 0)
    if memory > limit then return nil end
  end
  for _, key in ipairs(keys) do
    local dump = redis.call('DUMP', key)
    if dump then
      size = size + #dump
      -- The estimate above looks at a few elements only.
      if size > limit then return nil end
      local expires = redis.pcall('PEXPIRETIME', key)
      if type(expires) == 'table' then -- Redis 6.2 does not know it
        local left, now = redis.call('PTTL', key), redis.call('TIME')
        expires = left < 0 and -1 or left + now[1] * 1000 + math.floor(now[2] / 1000)
      end
      all[#all + 1] = key
      all[#all + 1] = write(math.max(expires, 0)) .. ' ' .. dump
    end
  end
  return all
end

local function too_large() return redis.error_reply('HOMELARGE the contents exceed the limit') end
