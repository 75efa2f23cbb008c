-- Streams and feeds. ARGV from 4: `append` with id (16 bytes, or '' for one that is given here), payload and whether it has
-- to exist, or `evict`; then what is to stay: how (`newest`, `from`, `lately`, or '') and how much. See the engine's
-- `entry.rs`.
local function uint(n) return put('>I4I4', floor(n / 4294967296), n % 4294967296) end

local function from_uint(s)
  local high, low = take('>I4I4', s)
  return high * 4294967296 + low
end

local function given(last)
  local number = tonumber(redis.call('GET', KEYS[4]) or 0) + 1
  local sequence = put('>I3', number % 16777216) .. string.sub(own, -5)
  local ms = floor(server_time() / 1000)
  if last then ms = math.max(ms, from_uint(last)) end
  if last and not before(last, uint(ms) .. sequence) then ms = ms + 1 end
  return ms < 9007199254740992 and uint(ms) .. sequence
end

-- The positions of the oldest, as many as have to go; `new` is not in the view yet.
local function excess(how, much, new)
  local found, limit = {}, 10000
  if how == 'newest' then
    local over = math.min(length() + (new and 1 or 0) - tonumber(much), limit)
    if over > 0 then found = members(0, over - 1) end
    if new and over > #found then found[#found + 1] = new end
  else
    local first = how == 'from' and much or uint(math.max(floor(server_time() / 1000) - tonumber(much), 0))
    found = from_view('ZRANGEBYLEX', '-', '(' .. first, 'LIMIT', 0, limit)
    if new and #found < limit and before(new, first) then found[#found + 1] = new end
  end
  for i = 1, #found do found[i] = string.sub(found[i], 1, 16) end
  return found
end

local damaged = kind == FEED and not_an_order(KEYS[#KEYS - 1])
if damaged then return damaged end
local answer
if ARGV[4] == 'append' then
  local id, last = ARGV[5], members(-1, -1)[1]
  last = last and string.sub(last, 1, 16)
  if ARGV[7] == '1' and not last then
    answer = false
  else
    if id == string.rep('\0', 16) then return {err = 'ERR The ID specified in XADD must be greater than 0-0'} end
    if id == '' then id = given(last) elseif last and not before(last, id) then id = nil end
    if not id then
      return {err = 'ERR The ID specified in XADD is equal or smaller than the target stream top item'}
    end
    load_fields({'m' .. id})
    assign(fields['m' .. id], ARGV[6])
    if ARGV[8] ~= '' then take_out(excess(ARGV[8], ARGV[9], id), length() + 1) end
    answer = id
  end
else
  local found = excess(ARGV[5], ARGV[6])
  take_out(found, length())
  answer = #found
end
local failed = commit(server_time())
if failed then return failed end
publish()
return answer
