-- What is held of one key alone: a walk of every key that has passed it brought all that its sender held of it. What
-- another resync brings of it, read at a peer that had not heard of a removal, must not come back behind its back.
-- Each walk of every key under way here, as {last key, what its sender held}.
local function passed_of(meta)
  local walks = {}
  for field, progress in pairs(meta) do
    if string.sub(field, 1, 7) == 'resync:' then
      local line = string.find(progress, '\n', 1, true)
      local plan, after = string.sub(progress, 1, line - 1), string.sub(progress, line + 1)
      if after ~= '' and plan_above(plan) == 0 then
        local text, vector = string.match(plan, '^[^|]*|[^|]*|[^|]*|[^|]*|[^|]*|[^|]*|([^|]*)|'), {}
        for origin, version in string.gmatch(text, '([^ ,]+) (%d+)') do vector[origin_bytes(origin)] = tonumber(version) end
        walks[#walks + 1] = {after, vector}
      end
    end
  end
  return walks
end

local function known_of_key(block, known, walks)
  if #walks == 0 then return known end
  local kind, name = take('>BI4c0', block)
  local entry, all = WORDS[kind] .. ':' .. name, known
  for i = 1, #walks do
    if not before(walks[i][1], entry) then
      if all == known then
        all = {}
        for origin, version in pairs(known) do all[origin] = version end
      end
      for origin, version in pairs(walks[i][2]) do all[origin] = math.max(all[origin] or 0, version) end
    end
  end
  return all
end
