-- The everyday addition, before the general one pays for its functions: whole numbers well within the exact range, no
-- expiry, and nothing but running sums in the cells. What does not fit goes on below.
local kind = string.byte(ARGV[3])
if #KEYS == 6 and (not ARGV[6] or kind == 4) then
  local own, amount, member = ARGV[2], tonumber(ARGV[4]), ARGV[5] or ''
  local name, limit = 'm' .. member, 4503599627370496
  local got = redis.call('HMGET', KEYS[1], kind == 1 and 'x' or 's', name)
  local bound = kind ~= 1 and got[1] and tonumber(got[1]) -- no number where it announces an expiry
  local stored, first, rest, run, since, sum = got[2], nil, nil, 0, nil, 0
  local fits = bound or not got[1]
  if fits and stored then
    local pos, len = 8, #stored
    while pos <= len do
      local start, o, flags, tv, tn, ts = pos, nil, nil, nil, nil, nil
      o, flags, pos = take('>Bc0B', stored, pos)
      if flags ~= 2 then
        fits = false
        break
      end
      tv, tn, ts, pos = take('>I7dI7', stored, pos)
      sum = sum + tn
      -- Fractions are added in origin order, so that every region gets the same bits.
      if tn > limit or tn < -limit or tn % 1 ~= 0 then fits = false end
      if o == own then first, rest, run, since = start, pos, tn, ts end
    end
    fits = fits and first
  end
  run, sum = run + amount, sum + amount
  if fits and amount % 1 == 0 and run < limit and run > -limit and sum < limit and sum > -limit then
    if run == 0 then run = 0 end -- minus zero is zero
    -- One field with one cell of 24 bytes: a running sum of this very version.
    local n, v = append(1, false, '>c2I6c4c0c13dI7', '\0\0\0\1', ARGV[3], '\0\0\0\24\0\2\0\0\0\0\0\0\0', run, since or 0)
    if not n then return {err = STALE} end
    local before, after = '', ''
    if first and first > 8 then before = sub(stored, 8, first - 1) end
    if rest and rest <= #stored then after = sub(stored, rest) end
    local value = put('>I7c0Bc0BI7dI7c0', FORMAT + n, before, #own, own, 2, v, run, since or v, after)
    if kind == 1 or (bound and n <= bound) then
      redis.call('HSET', KEYS[1], name, value)
    else
      redis.call('HSET', KEYS[1], 's', n + 256, name, value) -- `AHEAD` of cells.lua
    end
    if not (stored or bound) then
      local _, key_name = take('>BI4c0', ARGV[3])
      redis.call('ZADD', KEYS[5], 0, ({'string', 'set', 'hash', 'zset'})[kind] .. ':' .. key_name)
    end
    if sum == 0 then sum = 0 end
    local shown
    -- What the caller sent is text already, the sum would have to become it.
    if kind == 1 then
      if redis.pcall('INCRBY', KEYS[2], ARGV[4]) ~= sum then redis.call('SET', KEYS[2], sum) end
    elseif kind == 3 then
      shown = redis.pcall('HINCRBY', KEYS[2], member, ARGV[4])
      if shown ~= sum then shown = redis.pcall('HSET', KEYS[2], member, sum) end
    else
      shown = redis.pcall('ZADD', KEYS[2], sum, member)
    end
    local answer = kind == 4 and string.format('%.0f', sum) or sum
    if type(shown) ~= 'table' then return answer end
    answer_after_repair = answer
  end
end
