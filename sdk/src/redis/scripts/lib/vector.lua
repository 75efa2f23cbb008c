-- Vectors: what a region holds of every origin, in the meta hash as `applied:REGION/INCARNATION`.
local function origin_bytes(text)
  local region, hex = string.match(text, '^(.*)/(%x+)$')
  return region .. '\0' .. string.gsub(hex, '%x%x', function(h) return string.char(tonumber(h, 16)) end)
end

local function meta_map()
  local all, map = redis.call('HGETALL', KEYS[1]), {}
  for i = 1, #all, 2 do map[all[i]] = all[i + 1] end
  return map
end

-- {origin bytes = version}, and the origins in byte order.
local function applied_of(meta)
  local vector, origins = {}, {}
  for field, version in pairs(meta) do
    if string.sub(field, 1, 8) == 'applied:' then
      local o = origin_bytes(string.sub(field, 9))
      vector[o] = tonumber(version)
      origins[#origins + 1] = o
    end
  end
  table.sort(origins, before)
  return vector, origins
end

-- Appends a vector entry; answers its number and version, or nothing when the log is gone. An id is given only for a log's first entry.
local function append_vector(meta, log, numbers, opening, id)
  local vector, origins = applied_of(meta)
  if not id and redis.call('EXISTS', log, numbers) < 2 then return nil end
  local n = redis.call('INCR', numbers)
  local body = put('>BBI6I4I7I4', 1, 86, n, 1, opening, #origins)
  for i = 1, #origins do
    body = body .. put('>B', #origins[i]) .. origins[i] .. put('>I7', vector[origins[i]])
  end
  local v = version_of(redis.call('XADD', log, id or '*', 'd', body))
  if v % 1000 >= 999 then redis.call('XSETID', log, id_of(v + 1)) end
  redis.call('HDEL', KEYS[1], 'due')
  return n, v
end
