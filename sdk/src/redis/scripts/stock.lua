-- A write of a stock. The last four keys: what is set aside (token by deadline), stocks by their earliest such deadline,
-- the receipt of the call, and meta. ARGV from 4: what, and then
--   restock, return: units, the call in words
--   take: units, `all` or `upto`, milliseconds to set aside or '', the call in words, own origin's text, the call's id
--   transfer: receiver's text, units, `all` or `upto`, own origin's text
--   confirm, release: units, token, its origin's text
--   tidy
-- DEL and EXPIRE of a name go to every type that it may have: `clear` and `expire` answer where there is no stock.
-- Answers {word, ...}; see `store/stock.rs`.
local what = ARGV[4]
if what == 'clear' or what == 'expire' then
  if redis.call('EXISTS', KEYS[1]) == 1 then
    return {err = 'ERR a stock is only restocked, taken from, given back to, reserved from and transferred'}
  end
  return what == 'clear' and {0, false} or 0
end
if redis.call('EXISTS', KEYS[3], KEYS[4]) < 2 then return {err = STALE} end
local holds, held, receipt, meta = KEYS[#KEYS - 3], KEYS[#KEYS - 2], KEYS[#KEYS - 1], KEYS[#KEYS]
local REMEMBERED, RETURNED_AT_ONCE, UNITS, TURNOVER = 600000, 100, 2 ^ 40, 2 ^ 50
load_all()
local now_ms = floor(server_time() / 1000)

local function origin_of(text)
  local region, hex = string.match(text, '^([%w%-_.]+)/(%x+)$')
  if not region or #region > 64 or #hex ~= 16 or string.find(hex, '%u') then return nil end
  return region .. '\0' .. string.gsub(hex, '%x%x', function(h) return string.char(tonumber(h, 16)) end)
end

-- The origins whose rights are spent here: the own one, and those of this region that it inherits from.
local own_region = string.sub(own, 1, #own - 8)
local ours = {[own] = true}
for hex in string.gmatch(redis.call('HGET', meta, 'inherited') or '', '%x+') do
  ours[origin_of(string.sub(own_region, 1, -2) .. '/' .. hex)] = true
end

local function own_total(name)
  for _, c in ipairs(fields[name] and fields[name].cells or {}) do
    if c.o == own then return c.tn or 0 end
  end
  return 0
end

local SIGNS = {mmint = 1, mreturned = 1, mused = -1}

-- {rights of ours, left in all regions, minted, taken and not returned}; none below zero.
local function books()
  local rights, left, minted, taken = 0, 0, 0, 0
  for name, field in pairs(fields) do
    local sign, to = SIGNS[name], nil
    if not sign and string.sub(name, 1, 4) == 'mto:' then to = origin_of(string.sub(name, 5)) end
    if sign or to then
      for _, c in ipairs(field.cells) do
        local n = counted(c.tn)
        if sign then
          left = left + sign * n
          if name == 'mmint' then minted = minted + n else taken = taken - sign * n end
          if ours[c.o] then rights = rights + sign * n end
        else
          if ours[c.o] then rights = rights - n end
          if ours[to] then rights = rights + n end
        end
      end
    end
  end
  return {rights = math.max(rights, 0), left = math.max(left, 0), minted = minted, taken = math.max(taken, 0)}
end

local function text(n) return string.format('%.0f', n) end

local function enter(name, n)
  if not fields[name] then fields[name] = {name = name, cells = {}} end
  local field = fields[name]
  local c, v = cell_of(field.cells, own), version()
  c.tn, c.ts, c.tv, c.moved = plus(c.tn or 0, n), c.ts or v, v, true
  touch(field)
  return c
end

-- Units that cannot be counted exactly any more stay sold: never too many are left.
local function give_back(n)
  if n > 0 and own_total('mreturned') + n <= TURNOVER then enter('mreturned', n) end
end

local units = tonumber(what == 'transfer' and ARGV[6] or ARGV[5]) or 0
local name = ({restock = 'mmint', take = 'mused', ['return'] = 'mreturned'})[what]
if what == 'transfer' then name = 'mto:' .. ARGV[5] end
if name then
  if what == 'transfer' and string.sub(origin_of(ARGV[5]) or own, 1, #own_region) == own_region then
    return {err = 'ERR a region transfers rights to other regions only'}
  end
  local before_it, most = own_total(name), TURNOVER
  if what == 'restock' then before_it, most = books().minted, UNITS end
  if before_it + units > most then
    return {err = 'ERR increment or decrement would overflow'}
  end
end

-- What runs out comes back with every write. What an incarnation set aside whose rights are frozen is forgotten: what
-- became of it is not known here.
local overdue = redis.call('ZRANGEBYSCORE', holds, '-inf', now_ms, 'LIMIT', 0, RETURNED_AT_ONCE)
local back = 0
for i = 1, #overdue do
  local origin, n = string.match(overdue[i], '^([^/]*/%x+)/(%d+)/')
  if origin and ours[origin_of(origin)] then back = back + tonumber(n) end
end
give_back(back)

local is_gone = {}
for i = 1, #overdue do is_gone[overdue[i]] = true end

-- What is written beside the cells, once they are.
local removed, added_token, deadline_ms, note, note_key = overdue, nil, nil, nil, receipt

-- How many of so many units may be had.
local function granted(how)
  local rights = books().rights
  local n = how == 'upto' and math.min(units, rights) or units
  return n > 0 and n <= rights and n or nil
end

local function short()
  local here = books()
  return {'short', text(here.rights), text(math.max(here.left - here.rights, 0))}
end

local answer, given
local function done(n) answer = {'done', text(n), text(books().left)} end

-- The receipt of a call of the same id: what it asked for, how many units it was about, and the token if it set them aside.
local function repeated(asked)
  local found = redis.call('GET', receipt)
  if not found then return false end
  local before, n, token = string.match(found, '^([^\n]*)\n(%d+)\n(.*)$')
  if before ~= asked then
    answer = {'reused'}
  elseif token ~= '' then
    answer = {'held', token}
  else
    done(tonumber(n))
  end
  return true
end

if what == 'restock' or what == 'return' then
  if not repeated(ARGV[6]) then
    local taken = books().taken
    if what == 'return' and taken < units then
      answer = {'untaken', text(taken)}
    else
      enter(name, units)
      note = ARGV[6] .. '\n' .. text(units) .. '\n'
      done(units)
    end
  end
elseif what == 'take' then
  if not repeated(ARGV[8]) then
    local n = granted(ARGV[6])
    if not n then
      answer = short()
    else
      enter(name, n)
      local token = ''
      if ARGV[7] ~= '' then
        token = ARGV[9] .. '/' .. text(n) .. '/' .. ARGV[10]
        added_token, deadline_ms = token, now_ms + tonumber(ARGV[7])
        answer = {'held', token}
      else
        done(n)
      end
      note = ARGV[8] .. '\n' .. text(n) .. '\n' .. token
    end
  end
elseif what == 'transfer' then
  local n = granted(ARGV[7])
  if n then
    units, given = n, enter(name, n)
  else
    answer = short()
  end
elseif what == 'tidy' then
  done(books().rights)
else
  -- Confirm or release.
  local token = ARGV[6]
  if redis.call('GET', receipt) == what then
    done(units)
  elseif is_gone[token] or not ours[origin_of(ARGV[7])] or not redis.call('ZSCORE', holds, token) then
    answer = {'gone'}
  else
    removed = {unpack(overdue)}
    removed[#removed + 1] = token
    if what == 'release' then give_back(units) end
    note = what
    done(units)
  end
end

local failed = commit()
if failed then return failed end
if #touched > 0 then
  if not known then redis.call('ZADD', KEYS[5], 0, WORDS[kind] .. ':' .. key_name) end
  redis.call('SET', KEYS[2], text(books().left))
end
if #removed > 0 then redis.call('ZREM', holds, unpack(removed)) end
if added_token then redis.call('ZADD', holds, deadline_ms, added_token) end
if #removed > 0 or added_token or what == 'tidy' then
  local earliest = redis.call('ZRANGE', holds, 0, 0, 'WITHSCORES')
  if earliest[2] then redis.call('ZADD', held, earliest[2], key_name) else redis.call('ZREM', held, key_name) end
end
if note then redis.call('SET', note_key, note, 'PX', REMEMBERED) end
if given then
  local function issued(v) return text(v >= NEW and v - NEW + first_version or v) end
  return {'given', text(units), ARGV[8], issued(given.tv), text(given.tn), issued(given.ts)}
end
return answer
