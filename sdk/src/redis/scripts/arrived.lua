-- Entries of a feed behind a place in the order of their arrival. KEYS: meta, cells, arrivals, view. ARGV: replid, incarnation, the
-- place's line ('' for the start, '$' for the end), its number, how many entries at most.
-- Answers {line, number of the last entry, whether the place is of another line, ids and payloads by turns, how many entries
-- of the view stand nowhere in the order}; fewer entries than asked for when they grow large. Payloads come from the cells: a view may lack one, for somebody's hand or the server's clock.
local damaged = not_an_order(KEYS[3])
if damaged then return damaged end
local line = redis.call('HGET', KEYS[1], 'line') or ARGV[2]
local last = tonumber(redis.call('HGET', KEYS[1], 'last-arrival') or 0)
local from, restarted = tonumber(ARGV[4]), 0
if ARGV[3] == '$' then
  from = last
elseif ARGV[3] ~= '' and (ARGV[3] ~= line or from > last) then
  from, restarted = 0, 1
end
from = string.format('%.0f', from)
local stored, found, entries, size = redis.call('HGET', KEYS[2], 'x'), {}, {}, 0
local at = stored and deadline(parse_stored(stored))
if not at or floor(micros(redis.call('TIME')) / 1000) < at then
  found = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])
end
for i = 1, #found, 2 do
  local payload = text(parse_stored(redis.call('HGET', KEYS[2], 'm' .. found[i])))
  if payload then
    entries[#entries + 1] = found[i]
    entries[#entries + 1] = payload
    size = size + #payload
  end
  from = found[i + 1]
  if size > 1048576 then break end
end
-- Every entry that a reader sees has arrived. A view that has another type is no matter of this script.
local shown, ordered = redis.pcall('ZCARD', KEYS[4]), redis.call('ZCARD', KEYS[3])
return {line, from, restarted, entries, type(shown) == 'number' and math.max(shown - ordered, 0) or 0}
