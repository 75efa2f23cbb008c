-- Joins one key's cells. `known[origin]` is what is held of an origin: an assignment or total up to there is ignored,
-- whatever path it came by. With `known.strict` (a push) cells of an origin of which nothing is held are left out. With
-- `covered` (a resync's vector) the key is shipped whole, and what the sender does not hold of what it covers is given up.
local time = micros(redis.call('TIME'))
local now_ms = floor(time / 1000)
local conflicts, inexact, left_out, moved_any = 0, 0, 0, false

-- What is held of a settled incarnation: all that there will ever be.
local SETTLED = 9007199254740991

local function larger(a, b) return a ~= b and before(a, b) end

local function join_cell(c, d)
  if d.av then
    if not c.av or d.av > c.av then
      c.av, c.ap = d.av, d.ap
    elseif d.av == c.av and d.ap ~= c.ap then
      if c.av > c.rv and d.av > d.rv then conflicts = conflicts + 1 end
      if larger(c.ap, d.ap) then c.ap = d.ap end
    end
  end
  if d.rv > c.rv then c.rv = d.rv end
  if d.tv then
    if not c.tv or d.tv > c.tv then
      c.tv, c.tn, c.ts = d.tv, d.tn, d.ts
    elseif d.tv == c.tv then
      local ours, theirs = put('>dI7', c.tn, c.ts), put('>dI7', d.tn, d.ts)
      if ours ~= theirs then conflicts = conflicts + 1 end
      if larger(ours, theirs) then c.tn, c.ts = d.tn, d.ts end
    end
  end
  if d.bv then
    if not c.bv or d.bv > c.bv then
      c.bv, c.bn = d.bv, d.bn
    elseif d.bv == c.bv then
      local ours, theirs = put('>d', c.bn), put('>d', d.bn)
      if ours ~= theirs then conflicts = conflicts + 1 end
      if larger(ours, theirs) then c.bn = d.bn end
    end
  end
  if c.av and c.av <= c.rv then c.ap = '' end
end

-- What is live here, covered by the sender's vector and above the sender's own was seen by the sender and removed, and its
-- remains collected: it is retracted. But where the sender's own sum is live, nobody removed anything: its incarnation was
-- settled there, and a backup brought back more of it, too late. Then the sender's sum takes the place of this one: a base
-- would take the sender's along, in every region. Where a field only grows, what is settled is kept.
local function give_up_covered(cells, shipped, covered, grows)
  for i = 1, #cells do
    local c = cells[i]
    local their = shipped[c.o] or {}
    local bound = covered[c.o] or 0
    if grows and bound == SETTLED then bound = 0 end
    local total = contribution(c) and c.tv <= bound and c.tv > (their.tv or 0)
    if is_assigned(c) and c.av <= bound and c.av > (their.av or 0) then c.rv, c.ap = c.av, '' end
    if total and contribution(their) then
      c.tv, c.tn, c.ts = their.tv, their.tn, their.ts
    elseif total then
      c.bv, c.bn = c.tv, c.tn
    end
  end
end

-- Fields of which several live assignments differ, so that a rule decides: counted by type, those of expiries apart.
-- Who wants to be told gets `told`: by turns the key's entry in the index, the field, and its cells as they are stored.
local resolved, told = {}, nil

local function count_resolved(kind, name, field, cells)
  if #cells < 2 then return end
  local first
  for i = 1, #cells do
    local c = cells[i]
    if is_assigned(c) then
      if first and first ~= c.ap then
        local what = WORDS[kind] .. (field == 'x' and ' expiry' or ' value')
        resolved[what] = (resolved[what] or 0) + 1
        if told then
          local n = #told
          told[n + 1], told[n + 2], told[n + 3] = WORDS[kind] .. ':' .. name, field, put('>BI6', 1, 0) .. render_all(cells, 0)
        end
        return
      end
      first = c.ap
    end
  end
end

-- Whether nothing of a field ever goes, so that nothing can come back: see `only_grows` in the engine.
local function only_grows(kind, field) return kind == 17 or (kind == HYPERLOGLOG and field ~= 'x') end

-- There a settled incarnation is taken when a backup brings it: the region that was restored goes on counting it, and
-- nobody would ever agree with it. (The own origin is held beyond any version.)
local function without_settled(known)
  local rest = {}
  for origin, version in pairs(known) do
    if version ~= SETTLED then rest[origin] = version end
  end
  return rest
end

-- What can be written for all keys at once, at the end.
local new_entries, strings, dying = {}, {}, {}

local function flush()
  for i = 1, #strings, 2000 do redis.call('MSET', unpack(strings, i, math.min(i + 1999, #strings))) end
  for i = 1, #new_entries, 2000 do
    redis.call('ZADD', KEYS[2], unpack(new_entries, i, math.min(i + 1999, #new_entries)))
  end
  bury(KEYS[3], dying)
end

local function enter(kind, name)
  new_entries[#new_entries + 1] = 0
  new_entries[#new_entries + 1] = WORDS[kind] .. ':' .. name
end

local function note_dead(kind, name, field, cells)
  if has_dead(cells) then
    dying[#dying + 1] = DYING + number_now + 1
    dying[#dying + 1] = dying_member(WORDS[kind] .. ':' .. name, field)
  end
end

local function count_inexact(kind, cells)
  if kind == 1 or kind == 3 then
    local best, sum = winner_and_sum(cells)
    local base = best and number(best.ap)
    if sum and (base or not best) and math.abs((base or 0) + sum) > 9007199254740992 then inexact = inexact + 1 end
  end
end

-- Joins incoming cells into those that stand here. What is held already is left out, unless it stands here at the very
-- same version: nothing removed can come back by that, and if lost state gave one version two contents, every region
-- has to end on the same one.
local function merge(cells, incoming, known)
  for i = 1, #incoming do
    local d = incoming[i]
    local bound, here = known[d.o] or 0, nil
    if known.strict and not known[d.o] then
      left_out = left_out + 1
      d = {rv = 0}
    end
    if (d.av and d.av <= bound) or (d.tv and d.tv <= bound) then
      for j = 1, #cells do
        if cells[j].o == d.o then here = cells[j] end
      end
      if d.av and d.av <= bound and not (here and here.av == d.av) then d.av = nil end
      if d.tv and d.tv <= bound and not (here and here.tv == d.tv) then d.tv = nil end
    end
    if d.av or d.tv or d.bv or d.rv > 0 then join_cell(cell_of(cells, d.o), d) end
  end
end

-- Whether incoming cells can be stored byte for byte where nothing stands yet.
local function is_news(incoming, known)
  for i = 1, #incoming do
    local d = incoming[i]
    local bound = known[d.o] or 0
    if known.strict and not known[d.o] then return false end
    if (d.av and (d.av <= bound or (d.av <= d.rv and d.ap ~= ''))) or (d.tv and d.tv <= bound) then return false end
  end
  return true
end

-- Where the arrivals of the next feed stand: behind the cells and views of all keys, in the order of the keys.
local arrivals_at

local function next_arrivals()
  arrivals_at = arrivals_at + 1
  return KEYS[arrivals_at - 1]
end

-- What begins every field that this script stores.
local stamp = put('>BI6', 1, number_now + 1)

-- Stores a field of a key that announced no expiry, and enters the key.
local function store_field(kind, name, cells_key, field, records, is_known, bound)
  local value = stamp .. records
  if kind == 1 or (bound and number_now < bound) then
    redis.call('HSET', cells_key, field, value)
  else
    redis.call('HSET', cells_key, 's', announcement(number_now + 1), field, value)
  end
  if not is_known then enter(kind, name) end
  moved_any = true
end

-- One member, no expiry. Says whether it was that.
local function join_member(kind, name, block, pos, cells_key, view, arrivals, known)
  local tag, member, raw = take('>BI4c0I4c0', block, pos)
  if tag ~= 0 then return false end
  local field = 'm' .. member
  local got = redis.call('HMGET', cells_key, kind == 1 and 'x' or 's', field)
  local bound = kind ~= 1 and got[1] and tonumber(got[1])
  if got[1] and not bound then return false end
  local stored, is_known = got[2], got[2] or bound
  local joined, seen = join_everyday(kind, raw, stored, known)
  if joined then
    store_field(kind, name, cells_key, field, joined, is_known, bound)
    if kind == 1 then
      strings[#strings + 1] = view
      strings[#strings + 1] = seen
    elseif kind == 2 then
      to_view('SADD', view, member)
    elseif kind == 3 then
      to_view('HSET', view, member, seen)
    else
      to_view('ZADD', view, seen, member)
    end
    if foreign[view] then show_all(kind, cells_key, view) end
    return true
  end
  local cells, records = parse_cells(raw, 1), raw
  if stored or not is_news(cells, known) then
    local incoming = cells
    cells = stored and parse_cells(stored, 8) or {}
    merge(cells, incoming, known)
    records = render_all(cells, 0)
  end
  if #cells == 0 or (stored and records == string.sub(stored, 8)) then return true end
  count_resolved(kind, name, field, cells)
  store_field(kind, name, cells_key, field, records, is_known, bound)
  note_dead(kind, name, field, cells)
  if arrivals then arrive(KEYS[1], arrivals, member, cells) end
  local shown = kind == 1 and text(cells)
  if shown then
    strings[#strings + 1] = view
    strings[#strings + 1] = shown
  else
    show_member(kind, view, member, cells)
    if foreign[view] then show_all(kind, cells_key, view) end
  end
  count_inexact(kind, cells)
  return true
end

-- KEYS[1] is the meta hash, KEYS[2] the index, KEYS[3] the sweeper's list.
local function join_key(block, cells_key, view, known, covered)
  local kind, name, count, pos = take('>BI4c0I4', block)
  local arrivals = kind == FEED and next_arrivals()
  if count == 1 and not covered and join_member(kind, name, block, pos, cells_key, view, arrivals, known) then return end
  local names, raws, stored, listed = {}, {}, {}, {}
  for i = 1, count do
    local tag, member, raw
    tag, member, raw, pos = take('>BI4c0I4c0', block, pos)
    names[i] = tag == 0 and 'm' .. member or 'x'
    raws[i] = raw
    listed[names[i]] = true
  end
  local seq
  if covered then
    local all = redis.call('HGETALL', cells_key)
    for i = 1, #all, 2 do
      if all[i] == 's' then
        seq = all[i + 1]
      else
        stored[all[i]] = all[i + 1]
        if not listed[all[i]] then
          names[#names + 1] = all[i]
          raws[#names] = ''
        end
      end
    end
  else
    local first = 1
    repeat
      local last = math.min(first + 999, count)
      local got = redis.call('HMGET', cells_key, 's', 'x', unpack(names, first, last))
      seq = got[1]
      if got[2] then stored.x = got[2] end
      for i = first, last do stored[names[i]] = got[i - first + 3] or nil end
      first = last + 1
    until first > count
  end
  local old_at = stored.x and deadline(parse_stored(stored.x))
  local args, changed, x_cells = {}, {}, nil
  for i = 1, #names do
    local name_i, before_it = names[i], stored[names[i]]
    local cells, shipped = parse_stored(before_it), {}
    local incoming = parse_cells(raws[i], 1)
    if covered then
      -- As it came: what is held already, the merge leaves out.
      for _, d in ipairs(incoming) do
        shipped[d.o] = {av = d.av, tv = d.tv, tn = d.tn, ts = d.ts, bv = d.bv, bn = d.bn}
      end
    end
    local grows = covered and only_grows(kind, names[i])
    merge(cells, incoming, grows and without_settled(known) or known)
    -- What a stock counts is only added to: nobody removes it, so nothing removed is missing.
    if covered and kind ~= 17 then give_up_covered(cells, shipped, covered, grows) end
    local records = render_all(cells, 0)
    if records ~= (before_it and string.sub(before_it, 8) or '') then
      note_dead(kind, name, name_i, cells)
      args[#args + 1] = name_i
      args[#args + 1] = stamp .. records
      if not covered then count_resolved(kind, name, name_i, cells) end
      if name_i == 'x' then x_cells = cells else changed[#changed + 1] = {string.sub(name_i, 2), cells} end
      if #args >= 2000 then
        redis.call('HSET', cells_key, unpack(args))
        args = {}
      end
    end
  end
  if #changed == 0 and not x_cells then return end
  moved_any = true
  if kind ~= 1 then
    local bound, had_expiry = announced(seq or '')
    local has_expiry = (stored.x or x_cells) and true or false
    if not bound or number_now >= bound or had_expiry ~= has_expiry then
      args[#args + 1] = 's'
      args[#args + 1] = announcement(number_now + 1, has_expiry)
    end
  end
  if #args > 0 then redis.call('HSET', cells_key, unpack(args)) end
  local entry = WORDS[kind] .. ':' .. name
  if not seq and not next(stored) then enter(kind, name) end
  for i = 1, arrivals and #changed or 0 do arrive(KEYS[1], arrivals, changed[i][1], changed[i][2]) end
  local at = old_at
  if x_cells then at = deadline(x_cells) end
  if at and now_ms >= at then
    -- Past its expiry: whatever arrived, a reader sees nothing, until the clear or an extension.
    redis.call('UNLINK', view)
    if x_cells then redis.call('ZADD', KEYS[3], string.format('%.0f', at), entry) end
    return
  end
  if old_at and (now_ms >= old_at or redis.call('EXISTS', view) == 0) then
    -- The server had dropped the view, by its clock of then, and the key lives longer: show all of it again.
    show_all(kind, cells_key, view)
  else
    for i = 1, #changed do show_member(kind, view, changed[i][1], changed[i][2]) end
    if foreign[view] then show_all(kind, cells_key, view) end
  end
  if at or x_cells then show_expiry(view, KEYS[3], entry, at, x_cells) end
  for i = 1, #changed do count_inexact(kind, changed[i][2]) end
end

-- {origin bytes = version} from pairs of ARGV.
local function vector_from(first, last)
  local vector = {}
  for i = first, last, 2 do vector[ARGV[i]] = tonumber(ARGV[i + 1]) end
  return vector
end

-- Ends a join: writes what was gathered, raises `seen` and counts what has to be reported.
local function note(seen)
  flush()
  for origin, version in pairs(seen) do
    local field = 'seen:' .. origin
    local present = tonumber(redis.call('HGET', KEYS[1], field) or 0)
    if version > present then redis.call('HSET', KEYS[1], field, string.format('%.0f', version)) end
  end
  if conflicts > 0 then redis.call('HINCRBY', KEYS[1], 'conflicts', conflicts) end
  for what, n in pairs(resolved) do redis.call('HINCRBY', KEYS[1], 'resolved:' .. what, n) end
  if inexact > 0 then redis.call('HINCRBY', KEYS[1], 'inexact', inexact) end
end

-- A clock follows what it has seen, but at most `max_skew` ahead of the server's own.
local function raise_clock(log, seen, max_skew)
  local target = math.min(seen, time + max_skew)
  -- Within this very millisecond, too: the next automatic id may be its first.
  if target >= time - time % 1000 and redis.call('EXISTS', log) == 1 then
    local info = redis.call('XINFO', 'STREAM', log)
    for i = 1, #info, 2 do
      if info[i] == 'last-generated-id' and version_of(info[i + 1]) < target then
        if target % 1000 == 999 then target = target + 1 end
        redis.call('XSETID', log, id_of(target))
      end
    end
  end
end
