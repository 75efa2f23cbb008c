-- Stops writes, and answers what the user has here, in one step. ARGV: epoch, most bytes.
local is_first = state == 'shut' and at == 0 -- of a home that nobody opened
if not (state == 'sealed' or epoch > at and (state == 'open' or state == 'receiving' or is_first)) then
  return refuse()
end
local all = contents(tonumber(ARGV[2]))
if not all then return too_large() end
set('sealed')
return all
