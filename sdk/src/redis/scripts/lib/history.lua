-- The exact history check. ARGV[1]: the replication id the incarnation is bound to, or '' when the keyspace opted out.
-- A restart, a promotion and a demotion with a second promotion all change master_replid; FLUSHALL does not, but it
-- takes the record, the log and the numbers with it.
if ARGV[1] ~= '' and not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[1], 1, true) then
  return {err = "STALE the region's history is not the one on record"}
end
