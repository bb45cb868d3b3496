-- What has changed since a head, as the values of now: with the head that is answered, they are
-- the state at one moment. KEYS: head, log. ARGV: the head as seen, its number, prefix of records,
-- how many transactions at most.
local head = redis.call('GET', KEYS[1]) or ''
if head == ARGV[1] then
  return { head, 'same' }
end
local first = redis.call('XRANGE', KEYS[2], ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
if not first or first[2][2] ~= ARGV[1] then
  return { head, 'other' }
end
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[2] .. '-0', '+', 'COUNT', ARGV[4])
if #entries == tonumber(ARGV[4]) then
  return { head, 'other' }
end
local told, answer = {}, { head, 'changed' }
for _, entry in ipairs(entries) do
  for _, name in ipairs(cjson.decode(entry[2][4])) do
    if not told[name] then
      told[name] = true
      answer[#answer + 1] = name
      answer[#answer + 1] = redis.call('GET', ARGV[3] .. name)
    end
  end
end
return answer
