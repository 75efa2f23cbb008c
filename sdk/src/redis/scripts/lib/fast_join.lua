-- The everyday join of a field, before the general one pays for its tables: one newer cell, a running sum among nothing
-- but such, or an assignment where nothing else is assigned. Answers the field's records and what a reader sees of it,
-- both to be stored, or nothing: the case is another one, and nothing was done.
local function is_whole(n) return n % 1 == 0 and n < 4503599627370496 and n > -4503599627370496 end

local function join_everyday(kind, raw, stored, known)
  if kind > 4 or known.strict then return end
  local o, flags, pos = take('>Bc0B', raw)
  local version, shown, since
  if flags == 2 then
    version, shown, since, pos = take('>I7dI7', raw, pos)
    -- Fractions are added in origin order, so that every region gets the same bits.
    if kind == 2 or not is_whole(shown) then return end
  elseif flags == 8 then
    version, shown, pos = take('>I7I4c0', raw, pos)
  else
    return
  end
  if pos <= #raw or version <= (known[o] or 0) then return end
  local records = raw
  if stored then
    local at, first, rest = 8, nil, nil
    while at <= #stored do
      local start, origin, theirs, v, payload = at, nil, nil, nil, nil
      origin, theirs, at = take('>Bc0B', stored, at)
      if theirs ~= flags then return end
      if flags == 2 then
        v, payload, since, at = take('>I7dI7', stored, at)
      else
        v, payload, at = take('>I7I4c0', stored, at)
      end
      if origin == o then
        if v >= version then return end
        first, rest = start, at
      elseif flags == 2 then
        if not is_whole(payload) then return end
        shown = shown + payload
      elseif payload ~= shown then
        return
      end
    end
    if not first then return end
    records = string.sub(stored, 8, first - 1) .. raw .. string.sub(stored, rest)
  end
  if flags == 2 then
    if not is_whole(shown) then return end
    return records, string.format('%d', shown)
  end
  if kind == 4 then return records, string.format('%.17g', plus(to_score(shown), 0)) end
  return records, shown
end
