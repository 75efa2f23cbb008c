-- The exact history check. ARGV[1], the guard: of a write the log's cap, and behind a colon the replication id that the
-- incarnation is bound to, unless the keyspace opted out; elsewhere that id alone, or ''. No cap is as long as an id.
-- A restart, a promotion and a demotion with a second promotion all change master_replid; FLUSHALL does not, but it
-- takes the record, the log and the numbers with it.
if #ARGV[1] >= 40 and not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. string.sub(ARGV[1], -40), 1, true) then
  return {err = "STALE the region's history is not the one on record"}
end
