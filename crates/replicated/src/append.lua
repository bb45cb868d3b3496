-- Appends a transaction, if its author has seen everything before it.
-- KEYS: head, log. ARGV: the head as seen, the new one, its number, prefix of records, names of
-- records as JSON; then for each record its end ('' for never, '-' for removed) and its value.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
  return 0
end
for index, name in ipairs(cjson.decode(ARGV[5])) do
  local key = ARGV[4] .. name
  local ends, value = ARGV[4 + 2 * index], ARGV[5 + 2 * index]
  if ends == '-' then
    redis.call('DEL', key)
  elseif ends == '' then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'EXAT', ends)
  end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', 8192, ARGV[3] .. '-0', 'head', ARGV[2], 'names', ARGV[5])
redis.call('SET', KEYS[1], ARGV[2])
return 1
