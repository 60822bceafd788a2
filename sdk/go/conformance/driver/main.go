// Driver is the KV driver of sdk/conformance in Go: a store in memory.
package main

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/driver"
)

func init() {
	driver.Handle(driver.TTL|driver.CAS|driver.Increment|driver.Scan|driver.Evict, &memory{})
}

func main() {}

type memory struct{ items map[string]*item }

type item struct {
	value   []byte
	ends    time.Time // zero: never
	version int64
}

func end(ttl driver.Millis) time.Time {
	if ttl == 0 {
		return time.Time{}
	}
	return driver.Now().Add(time.Duration(ttl) * time.Millisecond)
}

// live returns the item of a key that has not ended.
func (m *memory) live(key []byte) *item {
	it := m.items[string(key)]
	if it != nil && !it.ends.IsZero() && !driver.Now().Before(it.ends) {
		delete(m.items, string(key))
		return nil
	}
	return it
}

func (m *memory) Open(config []byte) error {
	if bytes.HasPrefix(config, []byte(`{"refuse":`)) {
		return edge.ErrInvalid
	}
	return m.Clear()
}

func (m *memory) Get(key []byte) (driver.Entry, error) {
	it := m.live(key)
	if it == nil {
		return driver.Entry{}, edge.ErrNotFound
	}
	e := driver.Entry{Value: it.value, Version: it.version}
	if !it.ends.IsZero() {
		e.TTL = driver.Millis(it.ends.Sub(driver.Now()) / time.Millisecond)
	}
	return e, nil
}

func (m *memory) Set(key, value []byte, how driver.How) (int64, error) {
	old := m.live(key)
	switch {
	case how.IfAbsent && old != nil:
		return 0, edge.ErrExists
	case how.IfPresent && old == nil, how.IfVersion != 0 && (old == nil || old.version != how.IfVersion):
		return 0, edge.ErrCondition
	}
	it := &item{value: bytes.Clone(value), ends: end(how.TTL), version: 1}
	if old != nil {
		it.version = old.version + 1
		if how.KeepTTL {
			it.ends = old.ends
		}
	}
	m.items[string(key)] = it
	return it.version, nil
}

func (m *memory) Delete(key []byte, version int64) error {
	it := m.live(key)
	if it == nil {
		return edge.ErrNotFound
	}
	if version != 0 && version != it.version {
		return edge.ErrCondition
	}
	delete(m.items, string(key))
	return nil
}

func (m *memory) Increment(key []byte, delta int64, ttl driver.Millis) (int64, error) {
	it := m.live(key)
	if it == nil {
		it = &item{value: []byte("0"), ends: end(ttl)}
	}
	n, err := strconv.ParseInt(string(it.value), 10, 64)
	if err != nil {
		return 0, edge.ErrInvalid
	}
	it.value, it.version = strconv.AppendInt(nil, n+delta, 10), it.version+1
	m.items[string(key)] = it
	return n + delta, nil
}

func (m *memory) Expire(key []byte, ttl driver.Millis) error {
	it := m.live(key)
	if it == nil {
		return edge.ErrNotFound
	}
	it.ends = end(ttl)
	return nil
}

func (m *memory) Scan(prefix, cursor []byte, most int) (keys [][]byte, next []byte, err error) {
	var all []string
	for key := range m.items {
		if strings.HasPrefix(key, string(prefix)) && (len(cursor) == 0 || key > string(cursor)) {
			all = append(all, key)
		}
	}
	slices.Sort(all)
	if len(all) > most {
		all = all[:most]
		next = []byte(all[most-1])
	}
	for _, key := range all {
		keys = append(keys, []byte(key))
	}
	return keys, next, nil
}

func (m *memory) Clear() error {
	m.items = map[string]*item{}
	return nil
}

func (m *memory) Tick(now time.Time) {
	edge.Info("ticked " + strconv.FormatInt(now.UnixMilli(), 10))
	for key := range m.items {
		m.live([]byte(key))
	}
}

func (m *memory) Close() { edge.Info("closed") }
