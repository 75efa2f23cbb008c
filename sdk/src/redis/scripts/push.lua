-- Cells from another region, past its log. KEYS: meta, index, expiring, log, number, then cells and view of each key,
-- and arrivals of each feed.
-- ARGV: replid, incarnation here, region here, own origin's bytes, the sender's region, its incarnation, its epoch, and
-- two counts: pairs of `seen`, keys; then those, and last whether to tell. Answers {what became of it, cells left out
-- or the epoch here, and then what there is to tell}.
local meta = meta_map()
if meta.epoch ~= ARGV[7] then return {'epoch', meta.epoch} end

-- Whether another incarnation of a region is the current one.
local function is_closed(region, incarnation)
  if region == ARGV[3] then return incarnation ~= ARGV[2] end
  local current = meta['known:' .. region]
  return current and string.sub(current, 1, 16) ~= incarnation
end

-- Zero is noted of what was met and never held.
if tonumber(meta['applied:' .. ARGV[5] .. '/' .. ARGV[6]] or 0) == 0 then return {'unheard', false} end
if is_closed(ARGV[5], ARGV[6]) then return {'closed', false} end
-- Of a closed incarnation only what others hid is taken: what it wrote and lost comes from a resync or not at all.
local known = {strict = true}
for field, version in pairs(meta) do
  local region, incarnation = string.match(field, '^applied:(.*)/(%x+)$')
  if region and version ~= '0' then
    known[origin_bytes(region .. '/' .. incarnation)] = is_closed(region, incarnation) and math.huge or tonumber(version)
  end
end
known[ARGV[4]] = math.huge
local seen_end = 9 + 2 * ARGV[8]
if ARGV[seen_end + ARGV[9] + 1] then told = {} end
arrivals_at = 6 + 2 * ARGV[9]
for i = 1, tonumber(ARGV[9]) do
  join_key(ARGV[seen_end + i], KEYS[4 + 2 * i], KEYS[5 + 2 * i], known)
end
note(vector_from(10, seen_end))
return {'joined', left_out, told}
