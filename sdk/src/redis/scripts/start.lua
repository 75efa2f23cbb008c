-- Notes at the receiver that a resync is under way. KEYS: meta.
redis.call('HSET', KEYS[1], 'resync:' .. ARGV[3], ARGV[7] .. '\n')
return {'done'}
