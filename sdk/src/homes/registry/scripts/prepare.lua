-- Gets ready for copies. ARGV: epoch. Answers 1 when the user's keys were deleted, 0 when it was ready before.
if state == 'receiving' and epoch == at then return 0 end -- said twice, it must not delete what was copied in between
if state == 'open' or epoch == at then return refuse() end
empty()
set('receiving')
return 1
