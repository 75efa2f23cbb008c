-- Settles closed incarnations of which nothing more can come. Whoever still holds something of them has it back from a backup,
-- too late: a walk of every key tells it so. KEYS: meta. ARGV: replid, incarnation, then origins.
for i = 3, #ARGV do
  redis.call('HDEL', KEYS[1], 'closing:' .. ARGV[i])
  redis.call('HSET', KEYS[1], 'applied:' .. ARGV[i], '9007199254740991', 'collected:' .. ARGV[i], '9007199254740991', 'due', '1')
end
return 1
