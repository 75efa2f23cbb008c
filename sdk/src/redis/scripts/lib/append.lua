-- Appends a write to the log: number, entry, clock. KEYS: cells, view, log, number. ARGV[1]: the guard, which begins
-- with the log's cap.
-- The id that XADD gives is the write's version, in milliseconds and the rest of the microseconds, so that no separate
-- clock has to be read and kept. An automatic id counts in whole milliseconds; for an assignment whose version decides
-- which of two regions wrote later, `precise` reads the clock for the rest, or is what the write has read there already.
-- A member of a set is there whoever wrote later: reading the clock took a tenth of a SADD.
local take, put, sub = struct.unpack, struct.pack, string.sub
local FORMAT = 281474976710656 -- the format's byte before a number of six
-- How many keys of its own an operation names behind those of every write.
local extra_keys = 0
-- What an everyday write answers that found a foreign value in place of the view: that is shown anew first.
local answer_after_repair
local STALE = "STALE the region's history is not the one on record" -- a table would be made in every write

-- Appends what `format` makes of '\1D', the entry's number and the rest; it takes `span` versions. Answers the number and the
-- first version, or nothing when the incarnation is not open here. One function, which puts the entry together itself: each
-- function costs every write its making, and each string its hashing and its collection.
local function append(span, precise, format, ...)
  local n = redis.call('INCR', KEYS[4])
  if n == 1 then
    redis.call('DEL', KEYS[4])
    return nil
  end
  local entry, id, v = put(format, '\1D', n, ...), '*', nil
  if precise then
    v = precise
    if v == true then
      local time = redis.call('TIME')
      v = time[1] * 1000000 + time[2]
    end
    id = string.format('%d-%d', (v - v % 1000) / 1000, v % 1000) -- half the price of '%.0f'
  end
  local given = precise and redis.pcall('XADD', KEYS[3], 'NOMKSTREAM', id, 'd', entry)
  if not precise or type(given) == 'table' then
    -- Or the log's clock is ahead of the server's, which went back or was never as far: the next id follows it.
    given = redis.call('XADD', KEYS[3], 'NOMKSTREAM', '*', 'd', entry)
  end
  if not given then
    redis.call('DECR', KEYS[4])
    return nil
  end
  -- Redis trims a log by whole nodes of a hundred entries, so that asking once in a hundred is enough.
  if n % 100 == 0 then redis.call('XTRIM', KEYS[3], 'MAXLEN', '~', string.match(ARGV[1], '^%d+')) end
  if given ~= id then
    if #given == 15 then
      -- Thirteen digits, as until the year 2286, and the first few of their millisecond.
      v = sub(given, 1, 13) * 1000 + (string.byte(given, 15) - 48)
    else
      local dash = string.find(given, '-', 1, true)
      v = sub(given, 1, dash - 1) * 1000 + sub(given, dash + 1)
    end
  end
  local last = v + span - 1
  if last % 1000 == 999 then last = last + 1 end -- the next automatic id must not leave the thousand
  if last > v then redis.call('XSETID', KEYS[3], string.format('%.0f-%.0f', (last - last % 1000) / 1000, last % 1000)) end
  return n, v
end
