-- Opens a new incarnation, unless the record already names this server's history and no peer knows a later opening.
-- KEYS: meta, new log, new numbers, old log, old numbers. ARGV: the record as the client saw it, region, a fresh
-- incarnation, the highest opening peers know of this region, format, number of partitions, and whether the region
-- keeps all it acknowledged over a restart.
-- Answers the record in force, and whether it was opened now.
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local replication = redis.call('INFO', 'replication')
local history = run_id .. ':' .. string.match(replication, 'master_replid:(%x+)')
if not string.find(replication, 'role:master', 1, true) then
  return {err = 'READONLY an incarnation is opened at a primary only'}
end
local record = redis.call('HGET', KEYS[1], 'record') or ''
local opening, bound, intact
if record ~= '' then
  opening, bound = string.match(record, '^%x+ (%d+) (.*)$')
  -- A record whose log or numbers are gone (evicted, deleted) is in force no more.
  intact = record ~= ARGV[1] or redis.call('EXISTS', KEYS[4], KEYS[5]) == 2
  if intact and bound == history and tonumber(opening) >= tonumber(ARGV[4]) then return {record, 0} end
end
if record ~= ARGV[1] then return {record, 0} end
local time = micros(redis.call('TIME'))
local meta = meta_map()
local last = 0
if record ~= '' then
  if redis.call('EXISTS', KEYS[4]) == 1 then
    local info = redis.call('XINFO', 'STREAM', KEYS[4])
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' then last = version_of(info[i + 1]) end
    end
  end
  -- All that the data shows of the old incarnation is held; from now on it is foreign.
  local closed = 'applied:' .. ARGV[2] .. '/' .. string.sub(record, 1, 16)
  meta[closed] = string.format('%.0f', last)
  redis.call('HSET', KEYS[1], closed, meta[closed])
end
-- The rights of an incarnation that ended without a loss pass to the next: the server kept its data and only its
-- process ended. A promoted replica names whom it followed, and what it lacks of that one nobody knows.
local is_promoted = not string.find(replication, 'master_replid2:0+%s')
if ARGV[7] == '1' and intact and not is_promoted and bound ~= history and tonumber(opening) >= tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'inherited', (meta.inherited and meta.inherited .. ' ' or '') .. string.sub(record, 1, 16))
else
  redis.call('HDEL', KEYS[1], 'inherited')
  -- Nor is what had arrived all there any more.
  redis.call('HSET', KEYS[1], 'line', ARGV[3])
end
-- Links resync, both ways.
for field in pairs(meta) do
  if string.find(field, '^cursor:') or string.find(field, '^resync:') or string.find(field, '^ack:') or string.find(field, '^closing:') then
    redis.call('HDEL', KEYS[1], field)
  end
end
redis.call('DEL', KEYS[2], KEYS[3])
if record ~= '' and redis.call('EXISTS', KEYS[5]) == 1 then redis.call('RENAME', KEYS[5], KEYS[3]) end
redis.call('DEL', KEYS[4])
opening = math.max(time, tonumber(ARGV[4]) + 1, tonumber(opening or 0) + 1)
record = ARGV[3] .. ' ' .. string.format('%.0f', opening) .. ' ' .. history
redis.call('HSET', KEYS[1], 'record', record, 'format', ARGV[5], 'partitions', ARGV[6], 'region', ARGV[2])
redis.call('HSETNX', KEYS[1], 'epoch', '1')
-- Never below what a log entry can tell from an offset, whatever a server takes for the year.
append_vector(meta, KEYS[2], KEYS[3], opening, id_of(math.max(time, last + 1, 1099511627776)))
return {record, 1}
