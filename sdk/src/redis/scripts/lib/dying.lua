-- The index of fields with dead cells, for the collection: members of the sweeper's list, behind every expire-at, in the
-- order of the numbers at which they changed. It shares that list's key so that writes in which nothing dies need not name
-- another one. No index entry begins with the zero bytes of a length.
local DYING = 10000000000000

local function dying_member(entry, name) return put('>I4', #entry) .. entry .. name end

local function bury(expiring, dying)
  for i = 1, #dying, 2000 do redis.call('ZADD', expiring, unpack(dying, i, math.min(i + 1999, #dying))) end
end

local function is_dead(c) return not is_assigned(c) and not contribution(c) end

local function has_dead(cells)
  for i = 1, #cells do
    if is_dead(cells[i]) then return true end
  end
  return false
end
