-- PFADD and PFMERGE. ARGV from 4: registers to take in ('' for none), then elements. Answers whether anything changed.
-- The native commands work on the view, and what they leave there becomes the payload: a copy of up to 12 KiB for every
-- element that is not new would go to the replicas, too. So whatever could refuse the write is looked at before.
if redis.call('EXISTS', KEYS[3], KEYS[4]) < 2 then return {err = STALE} end
load({'m'})
clear_if_over()
local field, view, scratch = fields.m, KEYS[2], KEYS[#KEYS]
local epoch, seen = live_registers(field.cells)
local changed = #seen == 0

-- A view that is not there, or not a HyperLogLog: somebody else wrote there, or it was evicted. The cells know.
local function restore() show_registers(view, field.cells) end
if (redis.call('EXISTS', view) == 1) == changed then restore() end

local function observe(...)
  local reply = redis.pcall('PFADD', view, ...)
  if type(reply) == 'table' then
    restore()
    reply = redis.call('PFADD', view, ...)
  end
  if reply == 1 then changed = true end
end

observe()
for i = 5, #ARGV, 2000 do observe(unpack(ARGV, i, math.min(i + 1999, #ARGV))) end

-- The same registers may have several sparse forms, and one dense.
local function dense()
  redis.call('SET', scratch, with_header('HYLL\0' .. string.rep('\0', 12299)))
  redis.call('PFMERGE', scratch, view)
  return redis.call('GET', scratch)
end

if ARGV[4] ~= '' then
  local before_it = dense()
  redis.call('SET', scratch, ARGV[4])
  redis.call('PFMERGE', view, scratch)
  if dense() ~= before_it then changed = true end
  redis.call('DEL', scratch)
end
if not changed then
  -- The server took the view away by a clock of then: it comes back with its expiry, or not at all.
  if hidden then redis.call('UNLINK', view) end
  return 0
end
assign(field, put('>I6', epoch) .. with_header(redis.call('GET', view)))
field.is_shown = true
local failed = commit(true)
if failed then return failed end
publish()
return 1
