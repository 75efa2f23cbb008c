-- A link's batch. KEYS: meta, index, expiring, log, number, aside, then cells and view of each key, and arrivals of each
-- feed. ARGV: replid, incarnation here, origin's region, its incarnation, origin's bytes, own origin's bytes, from, to, id,
-- applied, epoch, max skew, the sender's vector (or ''), and three counts: pairs of `seen`, entries set aside (pairs), keys; then
-- those, and last whether to tell. Answers {what became of it, the position, and then what there is to tell}.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'cursor:' .. ARGV[3], 'applied:' .. ARGV[3] .. '/' .. ARGV[4], 'hold:' .. ARGV[3] .. '/' .. ARGV[4])
if meta[1] ~= ARGV[11] then return {'epoch', meta[1]} end
if not meta[2] then return {'gap', false} end
local incarnation, at = string.match(meta[2], '^(%x+) (%d+) ')
if incarnation ~= ARGV[4] or tonumber(at) < tonumber(ARGV[7]) then return {'gap', meta[2]} end
if tonumber(at) >= tonumber(ARGV[8]) then return {'known', meta[2]} end
local seen_end = 16 + 2 * ARGV[14]
local aside_end = seen_end + 2 * ARGV[15]
local known = {[ARGV[5]] = tonumber(meta[3] or 0), [ARGV[6]] = math.huge}
if ARGV[aside_end + ARGV[16] + 1] then told = {} end
arrivals_at = 7 + 2 * ARGV[16]
for i = 1, tonumber(ARGV[16]) do
  join_key(ARGV[aside_end + i], KEYS[5 + 2 * i], KEYS[6 + 2 * i], known)
end
note(vector_from(17, seen_end))
raise_clock(KEYS[4], tonumber(ARGV[10]), tonumber(ARGV[12]))
local applied = tonumber(ARGV[10])
-- No further than before an entry was set aside: its cells are not held, and its id says nothing of which those are.
local hold = tonumber(meta[4] or math.huge)
for i = seen_end + 1, aside_end, 2 do
  -- What a resync already brought is not missing.
  if tonumber(ARGV[i]) > known[ARGV[5]] then
    redis.call('HSET', KEYS[6], ARGV[3] .. '/' .. ARGV[4] .. ' ' .. ARGV[i], ARGV[i + 1])
    hold = math.min(hold, known[ARGV[5]] + 1)
  end
end
local update = {'cursor:' .. ARGV[3], ARGV[4] .. ' ' .. ARGV[8] .. ' ' .. ARGV[9]}
if hold ~= math.huge then
  applied = math.min(applied, hold - 1)
  update[3], update[4] = 'hold:' .. ARGV[3] .. '/' .. ARGV[4], string.format('%.0f', hold)
end
if applied > known[ARGV[5]] then
  update[#update + 1] = 'applied:' .. ARGV[3] .. '/' .. ARGV[4]
  update[#update + 1] = string.format('%.0f', applied)
end
if tonumber(ARGV[16]) > 0 then
  update[#update + 1] = 'due'
  update[#update + 1] = '1'
end
if ARGV[13] ~= '' then
  update[#update + 1] = 'vector:' .. ARGV[3]
  update[#update + 1] = ARGV[13]
end
redis.call('HSET', KEYS[1], unpack(update))
return {'applied', update[2], told}
