-- The everyday join of a field, before the general one pays for its tables: one newer cell, a running sum among nothing
-- but such, or an assignment where no live one of another differs. Answers the field's records and what a reader sees of it, both
-- to be stored, or nothing: the case is another one, and nothing was done.
local function is_whole(n) return n % 1 == 0 and n < 4503599627370496 and n > -4503599627370496 end

-- An assignment from `at` on: version, payload, up to where it is retracted, what follows.
local function take_assignment(flags, s, at)
  if flags == 12 then return take('>I7I4c0I7', s, at) end
  local version, payload, behind_it = take('>I7I4c0', s, at)
  return version, payload, 0, behind_it
end

local function join_everyday(kind, raw, stored, known)
  if kind > 4 or known.strict then return end
  local o, flags, pos = take('>Bc0B', raw)
  local is_sum = flags == 2
  local version, shown, retracted, since
  if is_sum then
    version, shown, since, pos = take('>I7dI7', raw, pos)
    -- Fractions are added in origin order, so that every region gets the same bits.
    if kind == 2 or not is_whole(shown) then return end
  elseif flags == 8 or flags == 12 then
    version, shown, retracted, pos = take_assignment(flags, raw, pos)
    if version <= retracted then return end
  else
    return
  end
  if pos <= #raw or version <= (known[o] or 0) then return end
  local records = raw
  if stored then
    local at, first, rest = 8, nil, nil
    while at <= #stored do
      local start, origin, theirs, v, payload, r = at, nil, nil, nil, nil, nil
      origin, theirs, at = take('>Bc0B', stored, at)
      if is_sum and theirs == 2 then
        v, payload, since, at = take('>I7dI7', stored, at)
      elseif not is_sum and (theirs == 8 or theirs == 12) then
        v, payload, r, at = take_assignment(theirs, stored, at)
      else
        return
      end
      if origin == o then
        if v >= version or (not is_sum and r > retracted) then return end
        first, rest = start, at
      elseif is_sum then
        if not is_whole(payload) then return end
        shown = shown + payload
      elseif v > r and payload ~= shown then
        return
      end
    end
    if not first then return end
    records = string.sub(stored, 8, first - 1) .. raw .. string.sub(stored, rest)
  end
  if is_sum then
    if not is_whole(shown) then return end
    return records, string.format('%d', shown)
  end
  if kind == 4 then return records, string.format('%.17g', plus(to_score(shown), 0)) end
  return records, shown
end
