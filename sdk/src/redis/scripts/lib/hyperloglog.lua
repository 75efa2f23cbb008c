-- HyperLogLogs. A cell assigns an epoch in six bytes and Redis's own bytes of the registers; none after a removal, which
-- begins the next epoch. Shown is the union of what is live at the highest live epoch.
-- The last of KEYS is a scratch key, wherever one may have to be shown: PFMERGE takes keys only.
local HYPERLOGLOG, LAST_EPOCH = 14, 281474976710655

-- A header whose count is unknown: what a peer wrote there PFCOUNT would believe.
local function with_header(registers)
  return 'HYLL' .. string.sub(registers, 5, 5) .. '\0\0\0\0\0\0\0\0\0\0\128' .. string.sub(registers, 17)
end

-- Whether these are registers, exactly all of them: servers have written past a buffer where there were more.
local function are_registers(s)
  if #s < 16 or string.sub(s, 1, 4) ~= 'HYLL' then return false end
  local encoding = string.byte(s, 5)
  if encoding == 0 then return #s == 12304 end
  if encoding ~= 1 then return false end
  local covered, pos = 0, 17
  while pos <= #s do
    local b = string.byte(s, pos)
    if b >= 128 then
      covered = covered + b % 4 + 1
    elseif b >= 64 then
      pos = pos + 1
      covered = covered + (b - 64) * 256 + (string.byte(s, pos) or 16384) + 1
    else
      covered = covered + b + 1
    end
    if covered > 16384 then return false end
    pos = pos + 1
  end
  return covered == 16384
end

-- The highest live epoch, and what can be read of what is live in it.
local function live_registers(cells)
  local latest, live = 0, {}
  for i = 1, #cells do
    local c = cells[i]
    if c.av and c.av > c.rv then
      local epoch, registers = 0, ''
      if #c.ap >= 6 then epoch, registers = struct.unpack('>I6', c.ap), string.sub(c.ap, 7) end
      if epoch > latest then latest, live = epoch, {} end
      if epoch == latest and are_registers(registers) then live[#live + 1] = registers end
    end
  end
  return latest, live
end

local function show_registers(view, cells)
  local _, live = live_registers(cells)
  if #live == 0 then
    redis.call('UNLINK', view)
    return
  end
  redis.call('SET', view, with_header(live[1]))
  for i = 2, #live do
    redis.call('SET', KEYS[#KEYS], live[i])
    redis.call('PFMERGE', view, KEYS[#KEYS])
  end
  if #live > 1 then redis.call('DEL', KEYS[#KEYS]) end
end
