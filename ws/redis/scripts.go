package redis

import (
	"crypto/sha1" // what EVALSHA names scripts by
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/edge-server/edge/ws/fleet"
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
//	leases         hash: nodes and what their leases are called, anew when a lease begins
//	server         the ID of the server that the lane was found on
//	h:CHAN p:CHAN  hash: epoch (e) and offset (o) of a log, the server (s) that gave out the latest one, and the forks (f);
//	               hl:CHAN and pl:CHAN are the streams that hold it
//
// And channels for publications: ch:CHAN, control for what nodes tell each other, and life:ID, on which nothing is published.

// prelude is what all scripts begin with. KEYS[1] is the base, ARGV[1] the command that publishes.
//
// server returns the ID of the data that the server has, which changes when it is started and when it takes over from another: what others
// know of it may then be of a future that it has not. To ask for the ID takes longer than all the rest of a publication. So nodes listen to
// life:ID where they have found it: as long as somebody does, no other server can have it.
//
// head returns the epoch and the offset of a log, under a new epoch if another server has written it. What has no s is of a version that did
// not know of this.
var prelude = strings.Replace(`
local base, publish = KEYS[1], ARGV[1]

local function server(ask)
  local id = redis.call('GET', base .. 'server')
  if id and not ask then
    local listen = redis.pcall('PUBSUB', publish == 'SPUBLISH' and 'SHARDNUMSUB' or 'NUMSUB', base .. 'life:' .. id)
    if listen[2] and listen[2] > 0 then
      return id
    end
  end
  local info = redis.pcall('INFO', 'replication')
  local now = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or id or 'unknown'
  if now ~= id then
    redis.call('SET', base .. 'server', now)
  end
  return now
end

local function head(meta, epoch)
  local m = redis.call('HMGET', meta, 'e', 'o', 's', 'f')
  if not m[1] then
    return false, '0', ''
  end
  local id = server()
  if m[3] == id then
    return m[1], m[2], m[4] or ''
  end
  redis.call('HSET', meta, 's', id)
  if not m[3] then
    return m[1], m[2], ''
  end
  local forks, count = m[1] .. ':' .. m[2] .. ':' .. m[2], 1
  for fork in string.gmatch(m[4] or '', '[^;]+') do
    if count < 8 then
      forks, count = forks .. ';' .. fork, count + 1
    end
  end
  redis.call('HSET', meta, 'e', epoch, 'f', forks)
  return epoch, m[2], forks
end

local function saw(meta, forks, epoch, offset)
  if forks == '' or epoch == '' then
    return forks
  end
  local now = string.gsub(forks, '([^:;]+):(%d+):(%d+)', function(e, at, seen)
    if e == epoch and tonumber(offset) > tonumber(seen) then
      return e .. ':' .. at .. ':' .. offset
    end
  end)
  if now ~= forks then
    redis.call('HSET', meta, 'f', now)
  end
  return now
end

local function send(chan, log, size, ttl, epoch, message)
  local meta, list = base .. log .. ':' .. chan, base .. log .. 'l:' .. chan
  local e = head(meta, epoch)
  if not e then
    e = epoch
    redis.call('HSET', meta, 'e', e, 's', server())
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
    send(chan, 'p', PRESENCE, epoch, message)
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
`, "PRESENCE", fmt.Sprintf("%d, %d", fleet.PresenceKept, fleet.PresenceLasts.Milliseconds()), 1)

var (
	// chan, size, ttl, epoch, message
	publishScript = newScript(`
return send(ARGV[2], 'h', ARGV[3], ARGV[4], ARGV[5], ARGV[6])`)

	// log, chan, limit, epoch, the position after which: its epoch and the offset that follows
	pastScript = newScript(`
local meta, list = base .. ARGV[2] .. ':' .. ARGV[3], base .. ARGV[2] .. 'l:' .. ARGV[3]
local e, o, forks = head(meta, ARGV[5])
if not e then
  return {'', '0', '', 0, {}}
end
local first = '-'
if ARGV[6] == e then
  first = ARGV[7]
end
local entries
if tonumber(ARGV[4]) > 0 then
  entries = redis.call('XREVRANGE', list, '+', first, 'COUNT', ARGV[4])
else
  entries = redis.call('XREVRANGE', list, '+', first)
end
return {e, o, forks, redis.call('XLEN', list), entries}`)

	// node, chan, epoch, where the node is in both logs: epoch and offset
	watchScript = newScript(`
local node, chan, first = ARGV[2], ARGV[3], 0
if redis.call('HSETNX', base .. 'w:' .. chan, node, 1) == 1 then
  redis.call('SADD', base .. 'node:' .. node, 'w' .. chan)
  if redis.call('HLEN', base .. 'w:' .. chan) == 1 then
    first = 1
  end
end
local he, ho, hf = head(base .. 'h:' .. chan, ARGV[4])
local pe, po, pf = head(base .. 'p:' .. chan, ARGV[4])
hf = saw(base .. 'h:' .. chan, hf, ARGV[5], ARGV[6])
pf = saw(base .. 'p:' .. chan, pf, ARGV[7], ARGV[8])
return {first, he or '', ho, hf, pe or '', po, pf}`)

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
local e, o = head(base .. 'p:' .. chan, ARGV[8])
return {changed, redis.call('HGETALL', base .. 'm:' .. chan), e or '', o}`)

	// chan, epoch
	membersScript = newScript(`
local e, o = head(base .. 'p:' .. ARGV[2], ARGV[3])
return {0, redis.call('HGETALL', base .. 'm:' .. ARGV[2]), e or '', o}`)

	// node, chan, user, announce, epoch
	leaveScript = newScript(`return leave(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])`)

	// node, lease, epoch, whether to take away dead nodes, what the node has been told to call its lease, another name for it
	renewScript = newScript(`
local t, node, found = redis.call('TIME'), ARGV[2], 0
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local id, name = server(true), redis.call('HGET', base .. 'leases', node) or ''
local ended = redis.call('GET', base .. 'ended:' .. node)
if ended and ended ~= ARGV[6] then
  found = 2
elseif not redis.call('ZSCORE', base .. 'nodes', node) then
  found = 1
elseif ARGV[6] ~= id .. '/' .. name then
  found = 3
end
if found > 0 then
  name = ARGV[7]
  redis.call('HSET', base .. 'leases', node, name)
end
name = id .. '/' .. name
if found == 2 then
  redis.call('SET', base .. 'ended:' .. node, name, 'PX', 3600000)
elseif ended then
  redis.call('DEL', base .. 'ended:' .. node)
end
redis.call('ZADD', base .. 'nodes', now + ARGV[3], node)
if ARGV[5] ~= '1' then
  return {found, 0, {}, name}
end
local dead = redis.call('ZRANGEBYSCORE', base .. 'nodes', '-inf', '(' .. now, 'LIMIT', 0, 1)[1]
if not dead then
  return {found, 0, {}, name}
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
  redis.call('HDEL', base .. 'leases', dead)
end
return {found, 1, gone, name}`)

	// node: what is left of it is taken away by the others
	resignScript = newScript(`
if redis.call('EXISTS', base .. 'node:' .. ARGV[2]) == 0 then
  redis.call('ZREM', base .. 'nodes', ARGV[2])
  redis.call('HDEL', base .. 'leases', ARGV[2])
else
  redis.call('ZADD', base .. 'nodes', 0, ARGV[2])
end
return 0`)

	// node, cursor
	heldScript = newScript(`
local found, list = redis.call('SSCAN', base .. 'node:' .. ARGV[2], ARGV[3], 'COUNT', 500), {}
for i, entry in ipairs(found[2]) do
  local users = {}
  if string.sub(entry, 1, 1) == 'm' then
    users = redis.call('HKEYS', base .. 'n:' .. ARGV[2] .. ' ' .. string.sub(entry, 2))
  end
  list[i] = {entry, users}
end
return {found[1], list}`)
)
