-- Kinds by their codes, and the words that name them in keys. Above the first four there are no everyday cases.
local WORDS = {'string', 'set', 'hash', 'zset', [14] = 'hyperloglog'}
local HYPERLOGLOG = 14
