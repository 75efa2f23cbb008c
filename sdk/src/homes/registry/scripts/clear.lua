-- Lets go of a user who lives elsewhere. ARGV: epoch.
if state == 'open' then return refuse() end
empty()
set('shut')
return 1
