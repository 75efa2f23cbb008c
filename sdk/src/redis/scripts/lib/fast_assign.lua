-- The everyday assignment, before the general one pays for its functions: one member, no condition, no expiry, and
-- nothing of another region to retract, of a type whose rule sets no condition. What does not fit goes on below.
-- Answers 1 for the assignment, plus 2 if the member was added, plus 4 if it changed.
local kind = tonumber(ARGV[5])
if kind <= 4 and #KEYS == 6 and #ARGV == 8 and #ARGV[6] == 1 then
  local own, member, payload = ARGV[2], ARGV[7], ARGV[8]
  local name = 'm' .. member
  local got = kind == 1 and redis.call('HMGET', KEYS[1], 'x', name) or redis.call('HMGET', KEYS[1], 'x', name, 's')
  local stored, first, rest, rv, present, old = got[2], nil, nil, 0, false, nil
  -- Minus zero is zero: the general path knows.
  local fits = not got[1] and not (kind == 4 and tonumber(payload) == 0)
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
        first, rest, rv, present, old = start, pos, math.max(av, r), av > r, ap
      else
        fits = av <= r
      end
    end
    fits = fits and first
  end
  if fits then
    local flags, retracted = 8, ''
    if rv > 0 then flags, retracted = 12, put('>I7', rv) end
    local n = next_number()
    local v = n and append(n, 1, put('>BBI6I4BI4c0I4BI4c0I4BBI7I4c0c0', 1, 68, n, 1, kind, #ARGV[4], ARGV[4], 1, 0, #member,
      member, 13 + #payload + #retracted, 0, flags, 0, #payload, payload, retracted), kind ~= 2)
    if not v then return STALE end
    local before, after = '', ''
    if stored then before, after = string.sub(stored, 8, first - 1), string.sub(stored, rest) end
    local value = put('>BI6c0Bc0BI7I4c0c0c0', 1, n, before, #own, own, flags, v, #payload, payload, retracted, after)
    -- A string is one field: its own stamp is the key's.
    if kind == 1 then redis.call('HSET', KEYS[1], name, value) else redis.call('HSET', KEYS[1], 's', n, name, value) end
    if not (stored or got[3]) then redis.call('ZADD', KEYS[5], 0, ({'string', 'set', 'hash', 'zset'})[kind] .. ':' .. ARGV[4]) end
    if kind == 1 then
      redis.call('SET', KEYS[2], payload)
    elseif kind == 2 then
      redis.call('SADD', KEYS[2], member)
    elseif kind == 3 then
      redis.call('HSET', KEYS[2], member, payload)
    else
      redis.call('ZADD', KEYS[2], payload, member)
    end
    if not present then return 7 end
    return kind == 4 and tonumber(old) ~= tonumber(payload) and 5 or 1
  end
end
