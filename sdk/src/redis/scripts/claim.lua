-- A claim, at the home of its candidates. ARGV from 4: their positions or ids. Takes the first that is there. Answers
-- it, what it held, and by turns origin and version of what is retracted of it; nil where none was there.
local names = fields_named(4, 1)
load_fields(names)
local found
for i = 1, #names do
  found = found or is_live(fields[names[i]].cells) and fields[names[i]]
end
local answer = false
if found then
  local position = string.sub(found.name, 2)
  answer = {position, text(found.cells)}
  take_out({position}, from_view('ZCARD'))
  for i = 1, #found.cells do
    local c = found.cells[i]
    if c.rv > 0 then
      answer[#answer + 1] = c.o
      answer[#answer + 1] = string.format('%.0f', c.rv)
    end
  end
end
local failed = commit()
if failed then return failed end
publish()
return answer
