-- Appends a write to the log: number, entry, clock. KEYS: cells, view, log, number. ARGV[3]: log cap.
-- The id that XADD gives is the write's version, in milliseconds and the rest of the microseconds, so that no separate
-- clock has to be read and kept. An automatic id counts in whole milliseconds; for an assignment, whose version decides
-- which of two regions wrote later, `precise` reads the clock for the rest. Answers the number and the version, or nothing when the incarnation is not open here.
local take, put = struct.unpack, struct.pack
local STALE = {err = "STALE the region's history is not the one on record"}

local function append(span, delta, precise)
  local n = redis.call('INCR', KEYS[4])
  if n == 1 then
    redis.call('DEL', KEYS[4])
    return nil
  end
  local entry = put('>BBI6I4', 1, 68, n, span) .. delta
  local id = '*'
  if precise then
    local time = redis.call('TIME')
    id = string.format('%d%03d-%d', time[1], math.floor(time[2] / 1000), time[2] % 1000)
  end
  id = redis.pcall('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[3], id, 'd', entry)
  if type(id) == 'table' then
    -- The log's clock is ahead of the server's, which went back or was never as far: the next id follows it.
    id = redis.call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[3], '*', 'd', entry)
  end
  if not id then
    redis.call('DECR', KEYS[4])
    return nil
  end
  local dash = string.find(id, '-', 1, true)
  local v = string.sub(id, 1, dash - 1) * 1000 + string.sub(id, dash + 1)
  local last = v + span - 1
  if last % 1000 == 999 then last = last + 1 end -- the next automatic id must not leave the thousand
  if last > v then redis.call('XSETID', KEYS[3], string.format('%.0f-%.0f', math.floor(last / 1000), last % 1000)) end
  return n, v
end
