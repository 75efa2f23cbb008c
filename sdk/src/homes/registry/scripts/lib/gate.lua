-- The gate of a user: `EPOCH STATE` at KEYS[1]; none is the default. Beside it, at KEYS[2], a hash of the keys that the user
-- has here, each with the round of the copy that it came by, if it did. The rules are those of `Gate`, in Rust, and a test
-- holds both to the same.
local gate, held = KEYS[1], KEYS[2]
local at, state = (redis.call('GET', gate) or '0 shut'):match('^(%d+) (%l+)$')
if not at then return redis.error_reply('ERR the gate is malformed') end
at = tonumber(at)

local function write(epoch) return string.format('%.0f', epoch) end

local function refuse() return redis.error_reply('HOMEGATE ' .. write(at) .. ' ' .. state) end
