-- SREM, HDEL, ZREM. ARGV from 6: members. Answers how many were visible.
local names = fields_named(6, 1)
load(names)
clear_if_over()
local removed = 0
for i = 1, #names do
  local field = fields[names[i]]
  if is_live(field.cells) then
    removed = removed + 1
    retract(field)
  end
end
-- Redis drops the key with its last member, and its expiry with it.
if removed > 0 and #fields.x.cells > 0 then
  local counts = {[1] = 'EXISTS', [2] = 'SCARD', [3] = 'HLEN', [4] = 'ZCARD', [5] = 'ZCARD'}
  if redis.call(counts[NATIVE[kind]], KEYS[2]) == removed then retract(fields.x) end
end
local failed = commit()
if failed then return failed end
publish()
return removed
