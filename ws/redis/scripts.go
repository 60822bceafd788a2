package redis

import (
	"crypto/sha1" // what EVALSHA names scripts by
	"encoding/hex"
)

// script is a script and the name that the server gives it.
type script struct{ text, hash string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(prelude + text))
	return &script{prelude + text, hex.EncodeToString(sum[:])}
}

// Keys of a lane, all behind the same base, which in a cluster puts them into one slot. CHAN is a space and a channel.
//
//	nodes          sorted set: nodes and when their leases end, by the clock of the server
//	ended:NODE     there when the members of a node were taken away
//	node:NODE      set: "m"CHAN where the node has members, "w"CHAN where it has subscribers
//	w:CHAN         hash: the nodes that have subscribers
//	m:CHAN         hash: user to microseconds of arrival, ":" and info
//	c:CHAN         hash: user to the number of nodes that have him
//	n:NODE CHAN    hash: user of the node to the farewell
//	h:CHAN p:CHAN  hash: epoch and offset of a log; hl:CHAN and pl:CHAN are the streams that hold it
//
// And channels for publications: ch:CHAN, and control for what nodes tell each other.

// prelude is what all scripts begin with. KEYS[1] is the base, ARGV[1] the command that publishes.
const prelude = `
local base, publish = KEYS[1], ARGV[1]

local function send(chan, log, size, ttl, epoch, message)
  local meta, list = base .. log .. ':' .. chan, base .. log .. 'l:' .. chan
  local e = redis.call('HGET', meta, 'e')
  if not e then
    e = epoch
    redis.call('HSET', meta, 'e', e)
    redis.call('DEL', list)
  end
  local o = string.format('%.0f', redis.call('HINCRBY', meta, 'o', 1))
  redis.call('XADD', list, 'MAXLEN', size, o .. '-0', 'd', message)
  if tonumber(ttl) > 0 then
    redis.call('PEXPIRE', meta, ttl)
    redis.call('PEXPIRE', list, ttl)
  else
    redis.call('PERSIST', meta)
    redis.call('PERSIST', list)
  end
  redis.call(publish, base .. 'ch:' .. chan, log .. e .. ':' .. o .. ':' .. message)
  return {e, o}
end

local function announce(chan, message, epoch)
  if message ~= '' then
    send(chan, 'p', 64, 600000, epoch, message)
  end
end

local function leave(node, chan, user, message, epoch)
  local mine = base .. 'n:' .. node .. ' ' .. chan
  if redis.call('HDEL', mine, user) == 0 then
    return 0
  end
  if redis.call('EXISTS', mine) == 0 then
    redis.call('SREM', base .. 'node:' .. node, 'm' .. chan)
  end
  if redis.call('HINCRBY', base .. 'c:' .. chan, user, -1) > 0 then
    return 0
  end
  redis.call('HDEL', base .. 'c:' .. chan, user)
  redis.call('HDEL', base .. 'm:' .. chan, user)
  announce(chan, message, epoch)
  return 1
end

local function unwatch(node, chan)
  redis.call('SREM', base .. 'node:' .. node, 'w' .. chan)
  if redis.call('HDEL', base .. 'w:' .. chan, node) == 0 then
    return 0
  end
  return 1 - redis.call('EXISTS', base .. 'w:' .. chan)
end
`

var (
	// chan, size, ttl, epoch, message
	publishScript = newScript(`
return send(ARGV[2], 'h', ARGV[3], ARGV[4], ARGV[5], ARGV[6])`)

	// log, chan, limit
	pastScript = newScript(`
local meta = redis.call('HMGET', base .. ARGV[2] .. ':' .. ARGV[3], 'e', 'o')
local list = base .. ARGV[2] .. 'l:' .. ARGV[3]
if not meta[1] then
  return {'', '0', 0, {}}
end
local entries
if tonumber(ARGV[4]) > 0 then
  entries = redis.call('XREVRANGE', list, '+', '-', 'COUNT', ARGV[4])
else
  entries = redis.call('XREVRANGE', list, '+', '-')
end
return {meta[1], meta[2], redis.call('XLEN', list), entries}`)

	// node, chan
	watchScript = newScript(`
local node, chan, first = ARGV[2], ARGV[3], 0
if redis.call('HSETNX', base .. 'w:' .. chan, node, 1) == 1 then
  redis.call('SADD', base .. 'node:' .. node, 'w' .. chan)
  if redis.call('HLEN', base .. 'w:' .. chan) == 1 then
    first = 1
  end
end
local h = redis.call('HMGET', base .. 'h:' .. chan, 'e', 'o')
local p = redis.call('HMGET', base .. 'p:' .. chan, 'e', 'o')
return {first, h[1] or '', h[2] or '0', p[1] or '', p[2] or '0'}`)

	// node, chan
	unwatchScript = newScript(`return unwatch(ARGV[2], ARGV[3])`)

	// node, chan, user, info, announce, farewell, epoch
	joinScript = newScript(`
local node, chan, user, changed = ARGV[2], ARGV[3], ARGV[4], 0
if redis.call('HSETNX', base .. 'n:' .. node .. ' ' .. chan, user, ARGV[7]) == 1 then
  redis.call('SADD', base .. 'node:' .. node, 'm' .. chan)
  if redis.call('HINCRBY', base .. 'c:' .. chan, user, 1) == 1 then
    changed = 1
    local t = redis.call('TIME')
    redis.call('HSET', base .. 'm:' .. chan, user, string.format('%d%06d', t[1], t[2]) .. ':' .. ARGV[5])
    announce(chan, ARGV[6], ARGV[8])
  end
end
return {changed, redis.call('HGETALL', base .. 'm:' .. chan)}`)

	// node, chan, user, announce, epoch
	leaveScript = newScript(`return leave(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])`)

	// node, lease, epoch, whether to take away dead nodes
	renewScript = newScript(`
local t, node, found = redis.call('TIME'), ARGV[2], 0
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if redis.call('DEL', base .. 'ended:' .. node) == 1 then
  found = 2
elseif not redis.call('ZSCORE', base .. 'nodes', node) then
  found = 1
end
redis.call('ZADD', base .. 'nodes', now + ARGV[3], node)
if ARGV[5] ~= '1' then
  return {found, 0, {}}
end
local dead = redis.call('ZRANGEBYSCORE', base .. 'nodes', '-inf', '(' .. now, 'LIMIT', 0, 1)[1]
if not dead then
  return {found, 0, {}}
end
local gone = {}
redis.call('SET', base .. 'ended:' .. dead, 1, 'PX', 3600000)
for _, entry in ipairs(redis.call('SRANDMEMBER', base .. 'node:' .. dead, 100)) do
  local chan = string.sub(entry, 2)
  if string.sub(entry, 1, 1) == 'w' then
    gone[#gone + 1] = {chan, '', unwatch(dead, chan)}
  else
    local farewells = redis.call('HGETALL', base .. 'n:' .. dead .. ' ' .. chan)
    for i = 1, #farewells, 2 do
      if leave(dead, chan, farewells[i], farewells[i + 1], ARGV[4]) == 1 then
        gone[#gone + 1] = {chan, farewells[i], 0}
      end
    end
    redis.call('SREM', base .. 'node:' .. dead, entry)
  end
end
if redis.call('EXISTS', base .. 'node:' .. dead) == 0 then
  redis.call('ZREM', base .. 'nodes', dead)
end
return {found, 1, gone}`)

	// node: what is left of it is taken away by the others
	resignScript = newScript(`
if redis.call('EXISTS', base .. 'node:' .. ARGV[2]) == 0 then
  redis.call('ZREM', base .. 'nodes', ARGV[2])
else
  redis.call('ZADD', base .. 'nodes', 0, ARGV[2])
end
return 0`)
)
