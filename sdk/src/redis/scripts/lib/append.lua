-- Appends a write to the log: number, entry, clock. KEYS: cells, view, log, number. ARGV[1]: the guard, which begins
-- with the log's cap.
-- The id that XADD gives is the write's version, in milliseconds and the rest of the microseconds, so that no separate
-- clock has to be read and kept. An automatic id counts in whole milliseconds; for an assignment whose version decides
-- which of two regions wrote later, `precise` reads the clock for the rest, or is what the write has read there already.
-- A member of a set is there whoever wrote later: reading the clock took a tenth of a SADD.
local take, put = struct.unpack, struct.pack
-- How many keys of its own an operation names behind those of every write.
local extra_keys = 0
-- What an everyday write answers that found a foreign value in place of the view: that is shown anew first.
local answer_after_repair
local STALE = "STALE the region's history is not the one on record" -- a table would be made in every write

-- The next number of the log, or nothing when the incarnation is not open here.
local function next_number()
  local n = redis.call('INCR', KEYS[4])
  if n > 1 then return n end
  redis.call('DEL', KEYS[4])
end

-- Adds an entry. Redis trims a log by whole nodes of a hundred entries, so that asking once in a hundred is enough.
local function add_entry(call, n, id, entry)
  if n % 100 == 0 then return call('XADD', KEYS[3], 'NOMKSTREAM', 'MAXLEN', '~', string.match(ARGV[1], '^%d+'), id, 'd', entry) end
  return call('XADD', KEYS[3], 'NOMKSTREAM', id, 'd', entry)
end

-- Appends entry `n`, which takes `span` versions. Answers the first, or nothing when the incarnation's log is gone.
local function append(n, span, entry, precise)
  local id, v = '*', nil
  if precise then
    v = precise
    if v == true then
      local time = redis.call('TIME')
      v = time[1] * 1000000 + time[2]
    end
    id = string.format('%d-%d', (v - v % 1000) / 1000, v % 1000) -- half the price of '%.0f', here where it counts
  end
  local given = add_entry(redis.pcall, n, id, entry)
  if type(given) == 'table' then
    -- The log's clock is ahead of the server's, which went back or was never as far: the next id follows it.
    given = add_entry(redis.call, n, '*', entry)
  end
  if not given then
    redis.call('DECR', KEYS[4])
    return nil
  end
  if given ~= id then
    local dash = string.find(given, '-', 1, true)
    v = string.sub(given, 1, dash - 1) * 1000 + string.sub(given, dash + 1)
  end
  local last = v + span - 1
  if last % 1000 == 999 then last = last + 1 end -- the next automatic id must not leave the thousand
  if last > v then redis.call('XSETID', KEYS[3], string.format('%.0f-%.0f', (last - last % 1000) / 1000, last % 1000)) end
  return v
end
