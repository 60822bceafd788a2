//go:build !wasip1

package edge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// The functions below stand in for the imports of Edge's own namespaces. Stores, metrics and the queue are those of the test
// binary; Reset forgets them.
var world = newWorld()

type testWorld struct {
	stores  []string
	kv      map[string]testEntry // by store, NUL, key
	metrics []string
	values  map[string]int64
	queue   [][]byte
	answers []*httptest.ResponseRecorder
	conns   []net.Conn
	failure string
}

type testEntry struct {
	value   []byte
	ttlMS   int64 // -1: for ever
	version int64
}

func newWorld() *testWorld {
	return &testWorld{kv: map[string]testEntry{}, values: map[string]int64{}}
}

// Reset empties the stores, metrics and the queue that plugins under test use.
func Reset() { world = newWorld() }

// TestMetric is the number of a counter or gauge, the sum of a histogram.
func TestMetric(name string) int64 { return world.values[name] }

// CheckConfig runs the function registered with [CheckConfig] on h.Config.
func (h *TestHost) CheckConfig() error {
	running.Lock()
	defer running.Unlock()
	outside := current
	defer func() { current = outside }()
	current = h
	if checkConfig() != 0 {
		return errors.New(world.failure)
	}
	return nil
}

func address([]byte) uint32 { return 0 } // natively pointers of results are offsets

func has(string) int32 { return 1 }

func nowMS() int64 { return time.Now().UnixMilli() }

func deadlineMS() int64 { return -1 }

func varGet(name string, buf []byte) int32 {
	value, ok := current.Vars[name]
	if !ok {
		return int32(abi.ErrNotFound)
	}
	return int32(give(buf, value))
}

func varSet(name, value string) int32 {
	if current.Vars == nil {
		current.Vars = map[string]string{}
	}
	current.Vars[name] = value
	return 0
}

func lastError(buf []byte) int32 { return int32(give(buf, world.failure)) }

func setError(text string) int32 {
	world.failure = text
	return 0
}

func flush() int32 { return 0 }

func kvOpen(store string) int32 {
	if i := slices.Index(world.stores, store); i >= 0 {
		return int32(i)
	}
	world.stores = append(world.stores, store)
	return int32(len(world.stores) - 1)
}

func keyOf(h int32, key string) string { return world.stores[h] + "\x00" + key }

func kvGet(h int32, key string, buf []byte, meta *[16]byte) int32 {
	e, ok := world.kv[keyOf(h, key)]
	if !ok {
		return int32(abi.ErrNotFound)
	}
	if meta != nil {
		binary.LittleEndian.PutUint64(meta[:], uint64(e.ttlMS))
		binary.LittleEndian.PutUint64(meta[8:], uint64(e.version))
	}
	return int32(give(buf, string(e.value)))
}

func endless(ttlMS int64) int64 {
	if ttlMS == 0 {
		return -1
	}
	return ttlMS
}

func kvSet(h int32, key string, value []byte, ttlMS int64, flags uint32, version int64) int32 {
	old, there := world.kv[keyOf(h, key)]
	switch {
	case flags&abi.SetNX != 0 && there:
		return int32(abi.ErrExists)
	case flags&abi.SetXX != 0 && !there, flags&abi.SetIfVersion != 0 && old.version != version:
		return int32(abi.ErrCondition)
	}
	ttl := endless(ttlMS)
	if flags&abi.SetKeepTTL != 0 && there {
		ttl = old.ttlMS
	}
	world.kv[keyOf(h, key)] = testEntry{bytes.Clone(value), ttl, old.version + 1}
	return 0
}

func kvDelete(h int32, key string, version int64) int32 {
	if version != 0 && world.kv[keyOf(h, key)].version != version {
		return int32(abi.ErrCondition)
	}
	delete(world.kv, keyOf(h, key))
	return 0
}

func kvExpire(h int32, key string, ttlMS int64) int32 {
	e, ok := world.kv[keyOf(h, key)]
	if !ok {
		return 0
	}
	e.ttlMS = endless(ttlMS)
	world.kv[keyOf(h, key)] = e
	return 1
}

func kvIncr(h int32, key string, delta, ttlMS int64, out *[8]byte) int32 {
	e, ok := world.kv[keyOf(h, key)]
	if !ok {
		e = testEntry{[]byte("0"), endless(ttlMS), 0}
	}
	n, err := strconv.ParseInt(string(e.value), 10, 64)
	if err != nil {
		return int32(abi.ErrInvalid)
	}
	world.kv[keyOf(h, key)] = testEntry{strconv.AppendInt(nil, n+delta, 10), e.ttlMS, e.version + 1}
	binary.LittleEndian.PutUint64(out[:], uint64(n+delta))
	return 0
}

func kvBatch(h int32, ops, buf []byte) int32 {
	var results []abi.Result
	var values []byte
	for o, rest, ok := abi.NextOp(ops); ok; o, rest, ok = abi.NextOp(rest) {
		value := make([]byte, 1<<16)
		n := int32(abi.ErrUnsupported)
		switch o.Op {
		case abi.OpGet:
			n = kvGet(h, string(o.Key), value, nil)
		case abi.OpSet:
			n = kvSet(h, string(o.Key), o.Value, o.TTL, o.Flags, o.Version)
		case abi.OpDelete:
			n = kvDelete(h, string(o.Key), o.Version)
		case abi.OpIncr:
			if n = kvIncr(h, string(o.Key), int64(binary.LittleEndian.Uint64(o.Value)), o.TTL, (*[8]byte)(value)); n == 0 {
				n = 8
			}
		case abi.OpExpire:
			if n = kvExpire(h, string(o.Key), o.TTL) - 1; n < 0 {
				n = int32(abi.ErrNotFound)
			}
		}
		r := abi.Result{TTL: -1, Ptr: uint32(len(values)), Len: uint32(max(n, 0))}
		switch Errno(n) {
		case abi.ErrNotFound:
			r.Status = abi.StatusNotFound
		case abi.ErrCondition:
			r.Status = abi.StatusCondition
		case abi.ErrExists:
			r.Status = abi.StatusExists
		default:
			r.Status = min(n, 0)
		}
		results, values = append(results, r), append(values, value[:max(n, 0)]...)
	}
	answer := binary.LittleEndian.AppendUint64(nil, uint64(len(results)))
	for _, r := range results {
		r.Ptr += uint32(8 + len(results)*abi.ResultSize)
		answer = append(answer, make([]byte, abi.ResultSize)...)
		r.Put(answer[len(answer)-abi.ResultSize:])
	}
	return int32(give(buf, string(append(answer, values...))))
}

func kvScan(h int32, prefix string, cursor []byte, limit uint32, buf []byte) int32 {
	var keys []string
	for full := range world.kv {
		key, ours := strings.CutPrefix(full, keyOf(h, ""))
		if ours && strings.HasPrefix(key, prefix) && (len(cursor) == 0 || key > string(cursor)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	next := ""
	if len(keys) > int(limit) {
		keys = keys[:limit]
		next = keys[limit-1]
	}
	page := abi.AppendScanCursor(nil, []byte(next))
	for _, key := range keys {
		page = abi.AppendScanKey(page, []byte(key))
	}
	return int32(give(buf, string(page)))
}

// tcpDial dials for real: tests listen themselves.
func tcpDial(address string, flags, timeoutMS uint32) int32 {
	if flags != 0 {
		return int32(abi.ErrUnsupported)
	}
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		world.failure = err.Error()
		return int32(abi.ErrUnavailable)
	}
	world.conns = append(world.conns, conn)
	return int32(len(world.conns))
}

func tcpRead(h int32, buf []byte, _ uint32) int32 {
	n, _ := world.conns[h-1].Read(buf)
	return int32(n)
}

func tcpWrite(h int32, b []byte, _ uint32) int32 {
	if _, err := world.conns[h-1].Write(b); err != nil {
		return int32(abi.ErrClosed)
	}
	return int32(len(b))
}

func tcpClose(h int32) int32 {
	world.conns[h-1].Close()
	return 0
}

func callOut(pool, head string, body []byte) int32 {
	if current.HTTP == nil {
		return int32(abi.ErrDenied)
	}
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	method, url, _ := strings.Cut(lines[0], " ")
	r := httptest.NewRequest(method, url, bytes.NewReader(body))
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	if pool != "" {
		r.Header.Set("X-Pool", pool)
	}
	w := httptest.NewRecorder()
	current.HTTP.ServeHTTP(w, r)
	world.answers = append(world.answers, w)
	return int32(len(world.answers))
}

func httpDo(head string, body []byte, _ uint32) int32 { return callOut("", head, body) }

func httpStatus(h int32) int32 { return int32(world.answers[h-1].Code) }

func httpHeader(h int32, name string, buf []byte) int64 {
	return int64(giveList(buf, world.answers[h-1].Header().Values(name)))
}

func httpHeaderNames(h int32, buf []byte) int64 {
	var names []string
	for name := range world.answers[h-1].Header() {
		names = append(names, strings.ToLower(name))
	}
	slices.Sort(names)
	return int64(giveList(buf, names))
}

func httpRead(h int32, buf []byte) int64 {
	n, err := world.answers[h-1].Body.Read(buf)
	return int64(abi.PackEOFLen(err != nil, uint32(n)))
}

func httpClose(int32) int32 { return 0 }

func phpCall(pool, head string, body []byte, _ uint32) int32 { return callOut(pool, head, body) }

func phpStatus(h int32) int32 { return httpStatus(h) }

func phpHeader(h int32, name string, buf []byte) int64 { return httpHeader(h, name, buf) }

func phpHeaderNames(h int32, buf []byte) int64 { return httpHeaderNames(h, buf) }

func phpRead(h int32, buf []byte) int64 { return httpRead(h, buf) }

func phpClose(int32) int32 { return 0 }

func metricDefine(_ uint32, name string) int32 {
	if i := slices.Index(world.metrics, name); i >= 0 {
		return int32(i)
	}
	world.metrics = append(world.metrics, name)
	return int32(len(world.metrics) - 1)
}

func metricAdd(id int32, delta int64) int32 {
	world.values[world.metrics[id]] += delta
	return 0
}

func metricSet(id int32, value int64) int32 {
	world.values[world.metrics[id]] = value
	return 0
}

func metricObserve(id int32, value int64) int32 { return metricAdd(id, value) }

func queuePush(item []byte) int32 {
	world.queue = append(world.queue, bytes.Clone(item))
	return 0
}

func queuePop(buf []byte) int32 {
	if len(world.queue) == 0 {
		return int32(abi.ErrNotFound)
	}
	item := world.queue[0]
	if len(item) <= len(buf) {
		world.queue = world.queue[1:]
	}
	return int32(give(buf, string(item)))
}

func wsPublish(topic string, _ uint32, message []byte) int32 {
	current.Published = append(current.Published, topic+": "+string(message))
	return 0
}
