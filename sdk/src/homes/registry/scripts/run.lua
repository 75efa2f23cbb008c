-- Runs commands of a user who lives here, and knows their keys from then on. KEYS from 3: those that the commands may write.
-- ARGV: most keys, then for each command the number of its words, and the words. Answers the commands' answers.
if state ~= 'open' then return refuse() end

local function is_there(key) return redis.call('EXISTS', key) == 1 end

local most, new = tonumber(ARGV[1]), 0
if #KEYS > 2 and redis.call('HLEN', held) + #KEYS - 2 > most then
  for _, key in ipairs(redis.call('HKEYS', held)) do
    if not is_there(key) then redis.call('HDEL', held, key) end -- expired
  end
  for i = 3, #KEYS do new = new + 1 - redis.call('HEXISTS', held, KEYS[i]) end
  if redis.call('HLEN', held) + new > most then
    return redis.error_reply('HOMEFULL a user has at most ' .. most .. ' keys')
  end
end

-- What a server answers that takes no writes, whatever they are.
local refusals = { READONLY = true, OOM = true, MISCONF = true, NOREPLICAS = true }

local answers, word = {}, 2
while word <= #ARGV do
  local last = word + tonumber(ARGV[word])
  local answer = redis.pcall(unpack(ARGV, word + 1, last))
  if type(answer) == 'table' and answer.err and refusals[answer.err:match('%-?(%u+) ')] then
    -- Nothing is written yet, for a script that has written may go on. Raised, it is known for what it is.
    redis.call(unpack(ARGV, word + 1, last))
  end
  answers[#answers + 1] = answer
  word = last + 1
end

for i = 3, #KEYS do
  if is_there(KEYS[i]) then redis.call('HSETNX', held, KEYS[i], '') else redis.call('HDEL', held, KEYS[i]) end
end
return answers
