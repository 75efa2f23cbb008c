-- What the user has here. ARGV: most bytes.
return contents(tonumber(ARGV[1])) or too_large()
