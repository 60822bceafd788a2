// Kv-redis is a store in Redis: it speaks to the server by itself, over a TCP connection that allow.net grants. See README.md.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"net"
	"strconv"
	"time"

	"github.com/edge-server/edge/plugins-wasm/shared/strict"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/driver"
)

func init() {
	driver.Handle(driver.TTL|driver.CAS|driver.Increment|driver.Scan|driver.Shared, &store{})
}

func main() {}

type config struct {
	Address        string `json:"address"`
	TLS            bool   `json:"tls"`
	Username       string `json:"username"`
	Password       string `json:"password"`
	DB             int    `json:"db"`
	Prefix         string `json:"prefix"`
	Timeout        string `json:"timeout"`
	ConnectTimeout string `json:"connect_timeout"`

	timeout, connectTimeout time.Duration
}

func readConfig(text []byte) (config, error) {
	c := config{Timeout: "2s", ConnectTimeout: "1s"}
	if err := strict.Read(text, &c); err != nil {
		return c, fmt.Errorf("%w: %w", edge.ErrInvalid, err)
	}
	host, port, err := net.SplitHostPort(c.Address)
	if n, _ := strconv.Atoi(port); err != nil || host == "" || n < 1 || n > 65535 {
		return c, fmt.Errorf("%w: config.address: %q is not host:port, such as redis.internal:6379", edge.ErrInvalid, c.Address)
	}
	if c.DB < 0 || c.DB > math.MaxInt32 {
		return c, fmt.Errorf("%w: config.db: %d is not between 0 and %d", edge.ErrInvalid, c.DB, math.MaxInt32)
	}
	for key, text := range map[string]string{"timeout": c.Timeout, "connect_timeout": c.ConnectTimeout} {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Millisecond || d > time.Minute {
			return c, fmt.Errorf("%w: config.%s: %q is not a time from 1ms to 1m, such as 2s", edge.ErrInvalid, key, text)
		}
		if key == "timeout" {
			c.timeout = d
		} else {
			c.connectTimeout = d
		}
	}
	return c, nil
}

type store struct {
	client client
	prefix []byte
	key    []byte // scratch
}

// Open checks the configuration. It does not connect: a server may start before its Redis does.
func (s *store) Open(text []byte) error {
	c, err := readConfig(text)
	if err != nil {
		return err
	}
	s.client, s.prefix = client{config: c}, []byte(c.Prefix)
	return nil
}

// under is the key as Redis has it, good until the next call.
func (s *store) under(key []byte) []byte {
	if len(s.prefix) == 0 {
		return key
	}
	s.key = append(append(s.key[:0], s.prefix...), key...)
	return s.key
}

// ask sends the commands that were added; an error among the replies is the operation's.
func (s *store) ask(again bool) ([]reply, error) {
	replies, err := s.client.send(again)
	if err != nil {
		return nil, err
	}
	for _, rep := range replies {
		if rep.kind == '-' {
			return nil, refused(rep.text)
		}
	}
	return replies, nil
}

func (s *store) Get(key []byte) (driver.Entry, error) {
	s.get(key)
	replies, err := s.client.send(true)
	if err != nil {
		return driver.Entry{}, err
	}
	return entry(replies)
}

func (s *store) get(key []byte) {
	key = s.under(key)
	s.client.command("GET", key)
	s.client.command("PTTL", key)
}

// entry reads the replies to get.
func entry(replies []reply) (driver.Entry, error) {
	value, ttl := replies[0], replies[1]
	switch {
	case value.kind == '-' && bytes.HasPrefix(value.text, []byte("WRONGTYPE")): // a list or a set of somebody else is no value
		return driver.Entry{}, edge.ErrNotFound
	case value.kind == '-':
		return driver.Entry{}, refused(value.text)
	case ttl.kind == '-':
		return driver.Entry{}, refused(ttl.text)
	case value.kind != '$' || value.null || ttl.number == -2:
		return driver.Entry{}, edge.ErrNotFound
	case ttl.number == 0: // less than a millisecond is left: to SET NX and INCR the key is still there
		ttl.number = 1
	}
	return driver.Entry{Value: value.text, TTL: driver.Millis(max(ttl.number, 0)), Version: version(value.text)}, nil
}

func (s *store) Set(key, value []byte, how driver.How) (int64, error) {
	if how.IfVersion != 0 {
		return 0, s.guarded(key, how.IfVersion, func(key []byte) { s.set(key, value, how) })
	}
	s.set(s.under(key), value, how)
	replies, err := s.ask(!how.IfAbsent && !how.IfPresent)
	switch {
	case err != nil:
		return 0, err
	case replies[0].kind == '+':
		return 0, nil
	case how.IfAbsent:
		return 0, edge.ErrExists
	}
	return 0, edge.ErrCondition
}

func (s *store) set(key, value []byte, how driver.How) {
	args := make([]any, 0, 6)
	args = append(args, "SET", key, value)
	switch {
	case how.KeepTTL:
		args = append(args, "KEEPTTL")
	case how.TTL > 0:
		args = append(args, "PX", int64(how.TTL))
	}
	if how.IfAbsent {
		args = append(args, "NX")
	} else if how.IfPresent {
		args = append(args, "XX")
	}
	s.client.command(args...)
}

func (s *store) Delete(key []byte, version int64) error {
	if version != 0 {
		return s.guarded(key, version, func(key []byte) { s.client.command("DEL", key) })
	}
	s.client.command("DEL", s.under(key))
	replies, err := s.ask(true)
	if err == nil && replies[0].number == 0 {
		err = edge.ErrNotFound
	}
	return err
}

// guarded changes a key of that version: Redis refuses the change if the key was touched after the look at it.
func (s *store) guarded(key []byte, want int64, change func(key []byte)) error {
	key = s.under(key)
	s.client.command("WATCH", key)
	s.client.command("GET", key)
	replies, err := s.ask(true)
	if err != nil {
		return err
	}
	if value := replies[1]; value.null || version(value.text) != want {
		s.client.command("UNWATCH")
		if _, err := s.ask(true); err != nil {
			return err
		}
		return edge.ErrCondition
	}
	s.client.used = time.Now() // whatever passed: another connection would not be the one that watches
	s.client.command("MULTI")
	change(key)
	s.client.command("EXEC")
	replies, err = s.ask(false)
	if err != nil {
		return err
	}
	done := replies[len(replies)-1]
	if done.null {
		return edge.ErrCondition
	}
	for _, rep := range done.list {
		if rep.kind == '-' {
			return refused(rep.text)
		}
	}
	return nil
}

func (s *store) Increment(key []byte, delta int64, ttl driver.Millis) (int64, error) {
	key = s.under(key)
	if ttl == 0 {
		s.client.command("INCRBY", key, delta)
		replies, err := s.ask(false)
		if err != nil {
			return 0, err
		}
		return replies[0].number, nil
	}
	s.client.command("MULTI")
	s.client.command("SET", key, "0", "PX", int64(ttl), "NX")
	s.client.command("INCRBY", key, delta)
	s.client.command("EXEC")
	replies, err := s.ask(false)
	if err != nil {
		return 0, err
	}
	done := replies[len(replies)-1].list
	if len(done) != 2 {
		return 0, fmt.Errorf("%w: EXEC answers %d replies", edge.ErrInternal, len(done))
	}
	for _, rep := range done {
		if rep.kind == '-' {
			return 0, refused(rep.text)
		}
	}
	return done[1].number, nil
}

func (s *store) Expire(key []byte, ttl driver.Millis) error {
	key = s.under(key)
	if ttl > 0 {
		s.client.command("PEXPIRE", key, int64(ttl))
	} else {
		s.client.command("PERSIST", key)
		s.client.command("EXISTS", key)
	}
	replies, err := s.ask(true)
	if err == nil && replies[len(replies)-1].number == 0 {
		err = edge.ErrNotFound
	}
	return err
}

// Scan's cursor is that of Redis.
func (s *store) Scan(prefix, cursor []byte, limit int) (keys [][]byte, next []byte, err error) {
	if len(cursor) == 0 {
		cursor = []byte("0")
	}
	s.client.command("SCAN", cursor, "MATCH", pattern(s.under(prefix)), "COUNT", int64(limit))
	replies, err := s.ask(true)
	if err != nil {
		return nil, nil, err
	}
	page := replies[0].list
	if len(page) != 2 {
		return nil, nil, fmt.Errorf("%w: SCAN answers %d replies", edge.ErrInternal, len(page))
	}
	for _, key := range page[1].list {
		keys = append(keys, bytes.TrimPrefix(key.text, s.prefix))
	}
	if next = page[0].text; string(next) == "0" {
		next = nil
	}
	return keys, next, nil
}

// pattern matches what begins with prefix.
func pattern(prefix []byte) []byte {
	var b []byte
	for _, c := range prefix {
		if bytes.IndexByte([]byte(`*?[]\^-`), c) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '*')
}

// clearPage removes the keys of one page inside of Redis, so that they need not travel.
const clearPage = `local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', 1000)
if #page[2] > 0 then redis.call('UNLINK', unpack(page[2])) end
return page[1]`

// Clear removes what begins with the prefix, and never more: the database may have other users.
func (s *store) Clear() error {
	for cursor := []byte("0"); ; {
		s.client.command("EVAL", clearPage, "0", cursor, pattern(s.prefix))
		replies, err := s.ask(true)
		if err != nil {
			return err
		}
		if cursor = replies[0].text; string(cursor) == "0" || len(cursor) == 0 {
			return nil
		}
	}
}

// Batch sends gets, sets and deletes without conditions all at once.
func (s *store) Batch(ops []driver.Op) {
	for i := range ops {
		if op := &ops[i]; op.Do != driver.Get && op.Do != driver.Delete && op.Do != driver.Set || op.How.IfVersion != 0 || op.How.IfAbsent || op.How.IfPresent {
			for i := range ops {
				driver.One(s, &ops[i])
			}
			return
		}
	}
	for i := range ops {
		switch op := &ops[i]; op.Do {
		case driver.Get:
			s.get(op.Key)
		case driver.Set:
			s.set(s.under(op.Key), op.Value, op.How)
		default:
			s.client.command("DEL", s.under(op.Key))
		}
	}
	replies, err := s.client.send(true)
	for i := range ops {
		op := &ops[i]
		if op.Err = err; err != nil {
			continue
		}
		rep := replies[0]
		switch {
		case op.Do == driver.Get:
			op.Result, op.Err = entry(replies[:2])
			replies = replies[1:]
		case rep.kind == '-':
			op.Err = refused(rep.text)
		case op.Do == driver.Delete && rep.number == 0:
			op.Err = edge.ErrNotFound
		}
		replies = replies[1:]
	}
}

// Tick keeps the connection in use, so that nothing in between forgets it.
func (s *store) Tick(time.Time) {
	if s.client.conn != nil && time.Since(s.client.used) > 15*time.Second {
		s.client.answers()
		s.client.used = time.Now()
	}
}

// version tells contents apart, never 0: who sets with it sets over what he has read.
func version(value []byte) int64 {
	const a, b = 0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f
	h := uint64(len(value))*a ^ b
	for ; len(value) >= 8; value = value[8:] {
		h = bits.RotateLeft64((h^binary.LittleEndian.Uint64(value))*a, 29) * b
	}
	for _, c := range value {
		h = bits.RotateLeft64((h^uint64(c))*a, 11) * b
	}
	h ^= h >> 32
	h *= a
	if v := int64((h ^ h>>29) >> 1); v != 0 {
		return v
	}
	return 1
}
