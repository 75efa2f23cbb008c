-- Lets the user in. ARGV: epoch.
local is_first = state == 'shut' and at == 0
if not (state == 'open' or state == 'receiving' or is_first or state == 'sealed' and epoch > at) then
  return refuse()
end
set('open')
return 1
