-- A piece of the log. KEYS: meta, log, numbers. ARGV: replid, incarnation, the id to read behind, how many entries.
-- Answers {record, epoch, number of the last entry, entries}.
return {record, redis.call('HGET', KEYS[1], 'epoch'), redis.call('GET', KEYS[3]),
  redis.call('XRANGE', KEYS[2], '(' .. ARGV[3], '+', 'COUNT', ARGV[4])}
