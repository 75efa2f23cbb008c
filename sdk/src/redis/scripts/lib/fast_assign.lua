-- The everyday assignment, before the general one pays for its functions: one member, no condition, no expiry, and
-- nothing of another region to retract, of a type whose rule sets no condition. What does not fit goes on below.
-- Answers 1 for the assignment, plus 2 if the member was added, plus 4 if it changed.
local kind = string.byte(ARGV[3])
if kind <= 4 and #KEYS == 6 and #ARGV <= 5 then
  local own, member, payload = ARGV[2], ARGV[4], ARGV[5] or ''
  if kind ~= 2 and not ARGV[5] then member, payload = '', member end
  local name = 'm' .. member
  local got = redis.call('HMGET', KEYS[1], kind == 1 and 'x' or 's', name)
  local bound = kind ~= 1 and got[1] and tonumber(got[1]) -- no number where it announces an expiry
  local stored, first, rest, rv, present, old = got[2], nil, nil, 0, false, nil
  -- Minus zero is zero: the general path knows.
  local fits = (bound or not got[1]) and not (kind == 4 and tonumber(payload) == 0)
  if fits and stored then
    local pos, len = 8, #stored
    while fits and pos <= len do
      local start, o, flags, av, ap = pos, nil, nil, nil, nil
      local r = 0
      o, flags, pos = take('>Bc0B', stored, pos)
      if flags == 8 then
        av, ap, pos = take('>I7I4c0', stored, pos)
      elseif flags == 12 then
        av, ap, r, pos = take('>I7I4c0I7', stored, pos)
      else
        fits = false
        break
      end
      if o == own then
        first, rest, rv, present, old = start, pos, av > r and av or r, av > r, ap
      else
        fits = av <= r
      end
    end
    fits = fits and first
  end
  if fits then
    -- Of the log's entry: its length, own cell, what it holds, a version to come. Each item of a format costs, and so does
    -- each piece that is put together before.
    local n, v
    if rv > 0 then
      n, v = append(1, kind ~= 2, '>c2I6c4c0I4c9I4c0I7', '\0\0\0\1', ARGV[3], 20 + #payload, '\0\12\0\0\0\0\0\0\0', #payload, payload, rv)
    else
      n, v = append(1, kind ~= 2, '>c2I6c4c0I4c9I4c0', '\0\0\0\1', ARGV[3], 13 + #payload, '\0\8\0\0\0\0\0\0\0', #payload, payload)
    end
    if not n then return {err = STALE} end
    local before, after, value = '', '', nil
    if first and first > 8 then before = sub(stored, 8, first - 1) end
    if rest and rest <= #stored then after = sub(stored, rest) end
    if rv > 0 then
      value = put('>I7c0Bc0BI7I4c0I7c0', FORMAT + n, before, #own, own, 12, v, #payload, payload, rv, after)
    else
      value = put('>I7c0Bc0BI7I4c0c0', FORMAT + n, before, #own, own, 8, v, #payload, payload, after)
    end
    if kind == 1 or (bound and n <= bound) then
      redis.call('HSET', KEYS[1], name, value)
    else
      redis.call('HSET', KEYS[1], 's', n + 256, name, value) -- `AHEAD` of cells.lua
    end
    if not (stored or bound) then
      local _, key_name = take('>BI4c0', ARGV[3])
      redis.call('ZADD', KEYS[5], 0, ({'string', 'set', 'hash', 'zset'})[kind] .. ':' .. key_name)
    end
    local shown
    if kind == 1 then
      redis.call('SET', KEYS[2], payload)
    elseif kind == 2 then
      shown = redis.pcall('SADD', KEYS[2], member)
    elseif kind == 3 then
      shown = redis.pcall('HSET', KEYS[2], member, payload)
    else
      shown = redis.pcall('ZADD', KEYS[2], payload, member)
    end
    local answer = not present and 7 or kind == 4 and tonumber(old) ~= tonumber(payload) and 5 or 1
    if not shown or shown == 0 or shown == 1 then return answer end
    answer_after_repair = answer
  end
end
