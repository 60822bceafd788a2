package redis

import (
	"crypto/sha1"
	"encoding/hex"
)

// script is a text and the digest that servers know it by.
type script struct{ text, digest string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text))
	return script{text, hex.EncodeToString(sum[:])}
}

// Each script has one key. Servers keep scripts until they restart, so eval sends the text when it is needed.
var (
	// lookScript returns value and deadline of a key: {value, milliseconds since 1970 or -1}, or {} when it is not there. Servers
	// before Redis 7 tell only how long it still lives.
	lookScript = newScript(`
local value = redis.call('GET', KEYS[1])
if not value then return {} end
local at = redis.pcall('PEXPIRETIME', KEYS[1])
if type(at) == 'table' then
  at = redis.call('PTTL', KEYS[1])
  if at >= 0 then
    local now = redis.call('TIME')
    at = at + now[1] * 1000 + math.floor(now[2] / 1000)
  end
end
return {value, at}`)

	// swapScript writes a key if it is as it was: was there, value, deadline, then the same three of what it is to be. It returns 1
	// if it did. Servers before Redis 7 give deadlines only to some milliseconds.
	swapScript = newScript(`
local value = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
  if value then return 0 end
else
  if not value or value ~= ARGV[2] then return 0 end
  local at, slack = redis.pcall('PEXPIRETIME', KEYS[1]), 0
  if type(at) == 'table' then
    at, slack = redis.call('PTTL', KEYS[1]), 5
    if at >= 0 then
      local now = redis.call('TIME')
      at = at + now[1] * 1000 + math.floor(now[2] / 1000)
    end
  end
  if math.abs(at - tonumber(ARGV[3])) > slack then return 0 end
end
if ARGV[4] == '0' then
  redis.call('DEL', KEYS[1])
elseif ARGV[6] == '0' then
  redis.call('SET', KEYS[1], ARGV[5])
else
  redis.call('SET', KEYS[1], ARGV[5], 'PXAT', ARGV[6])
end
return 1`)

	// incrementScript adds ARGV[1] and gives a new key the deadline ARGV[2].
	incrementScript = newScript(`
local made = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
local sum = redis.call('GET', KEYS[1])
if made then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return sum`)
)
