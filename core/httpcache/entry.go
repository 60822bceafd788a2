package httpcache

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/origin"
)

// An entry is an answer as the store has it. Its bytes are read where they are: decoding takes no memory.
//
//	0  version  1        30  generated, ms since 1970, int64     when it was received or last validated
//	1  flags    1        38  age then, lifetime, stale while revalidate, stale if error: ms, int64 each
//	2  status   2        70  lengths of name, vary and head, uint32 each
//	4  epoch    8        82  name, vary, head, body
//	12 reserved 2
//	14 variant  16
//
// name is the whole key, vary the headers of the request by which it was chosen, in lines, head the headers in lines "Name: value",
// sorted by name. A marker stands in the place of an entry where a URL has several: its variant begins with the salt.
type entry struct {
	flags    byte
	status   int
	epoch    uint64
	variant  variant
	times    times
	name     []byte
	vary     []byte
	head     []byte
	body     []byte
	encoded  []byte // all of it
	received int64  // ms
}

// times are spans in milliseconds.
type times struct {
	age, lifetime, whileRevalidate, ifError int64
}

const (
	entryVersion = 1
	entryFixed   = 82
)

// Flags of an entry.
const (
	isMarker       = 1 << iota // the URL has several answers
	mustRevalidate             // it is never served stale (RFC 9111, sections 4.2.4, 5.2.2.2)
	forCookies                 // it says public or s-maxage
	forCredentials             // so, or must-revalidate (RFC 9111, section 3.5)
	alwaysAsk                  // no-cache (RFC 9111, section 5.2.2.4)
	byTarget                   // what the route is for has made it, and not the server in its place; see package origin
	untouched                  // nobody may put another answer in its place
)

// encode writes the entry into one piece.
func (e *entry) encode(name string, vary []string, header http.Header, body []byte) {
	var names []string
	head := 0
	for key, values := range header {
		names = append(names, key)
		for _, value := range values {
			head += len(key) + len(value) + 3
		}
	}
	slices.Sort(names)
	b := make([]byte, entryFixed, entryFixed+len(name)+head+len(body)+32*len(vary))
	b[0], b[1] = entryVersion, e.flags
	binary.BigEndian.PutUint16(b[2:], uint16(e.status))
	binary.BigEndian.PutUint64(b[4:], e.epoch)
	copy(b[14:], e.variant[:])
	for i, n := range []int64{e.received, e.times.age, e.times.lifetime, e.times.whileRevalidate, e.times.ifError} {
		binary.BigEndian.PutUint64(b[30+8*i:], uint64(n))
	}
	b = append(b, name...)
	at := len(b)
	for i, field := range vary {
		if i > 0 {
			b = append(b, '\n')
		}
		b = append(b, field...)
	}
	binary.BigEndian.PutUint32(b[70:], uint32(len(name)))
	binary.BigEndian.PutUint32(b[74:], uint32(len(b)-at))
	at = len(b)
	for _, key := range names {
		for _, value := range header[key] {
			b = append(append(append(append(b, key...), ": "...), value...), '\n')
		}
	}
	binary.BigEndian.PutUint32(b[78:], uint32(len(b)-at))
	*e, _ = decode(append(b, body...))
}

// decode reads an entry. Anybody may have written it, and anything.
func decode(b []byte) (e entry, ok bool) {
	if len(b) < entryFixed || b[0] != entryVersion {
		return entry{}, false
	}
	e = entry{flags: b[1], status: int(binary.BigEndian.Uint16(b[2:])), epoch: binary.BigEndian.Uint64(b[4:]), encoded: b}
	copy(e.variant[:], b[14:])
	for i, to := range [...]*int64{&e.received, &e.times.age, &e.times.lifetime, &e.times.whileRevalidate, &e.times.ifError} {
		if *to = int64(binary.BigEndian.Uint64(b[30+8*i:])); *to < 0 || *to > 1<<50 {
			return entry{}, false
		}
	}
	if e.status < 200 || e.status > 599 {
		return entry{}, false
	}
	rest := b[entryFixed:]
	for i, to := range [...]*[]byte{&e.name, &e.vary, &e.head} {
		n := binary.BigEndian.Uint32(b[70+4*i:])
		if uint64(n) > uint64(len(rest)) {
			return entry{}, false
		}
		*to, rest = rest[:n:n], rest[n:]
	}
	e.body = rest
	return e, true
}

// newMarker is what stands under the key of a URL that has several answers. salt is new whenever names is.
func newMarker(epoch uint64, name string, names []string, salt []byte) entry {
	e := entry{flags: isMarker, status: http.StatusOK, epoch: epoch}
	copy(e.variant[:], salt)
	e.encode(name, names, nil, nil)
	return e
}

func (e *entry) marker() bool { return e.flags&isMarker != 0 }

// sign tells error pages who has made the answer, as it was told when the answer was made.
func (e *entry) sign(w http.ResponseWriter) {
	if e.flags&byTarget != 0 {
		origin.Mark(w)
	}
	if e.flags&untouched != 0 {
		origin.Settle(w)
	}
}

// names are the headers by which the answer was chosen.
func (e *entry) names() []string {
	if len(e.vary) == 0 {
		return nil
	}
	return strings.Split(string(e.vary), "\n")
}

// matches reports whether the entry is an answer to requests with these headers.
func (e *entry) matches(h http.Header) bool {
	return len(e.vary) == 0 || variantOf(h, e.names()) == e.variant
}

// age of the answer now, in milliseconds (RFC 9111, section 4.2.3). The clock of the server that stored it may be ahead.
func (e *entry) age(now time.Time) int64 {
	return e.times.age + max(0, now.UnixMilli()-e.received)
}

// fresh is for how long it is fresh, in milliseconds; negative for how long it has not been.
func (e *entry) fresh(now time.Time) int64 { return e.times.lifetime - e.age(now) }

// addTo puts the headers into h. One text and one list serve them all; the list has room for three more.
func (e *entry) addTo(h http.Header) []string {
	text := string(e.head)
	values := make([]string, 0, strings.Count(text, "\n")+3)
	last, from := "", 0
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		name, value, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		if name != last {
			last, from = name, len(values)
		}
		values = append(values, value)
		h[name] = values[from:len(values):len(values)]
	}
	return values
}

// set gives h a value that has its place behind the others in list.
func set(h http.Header, list []string, name, value string) []string {
	list = append(list, value)
	h[name] = list[len(list)-1 : len(list) : len(list)]
	return list
}

// header returns the headers.
func (e *entry) header() http.Header {
	h := http.Header{}
	e.addTo(h)
	return h
}

// get is the value of a header, the first of several.
func (e *entry) get(name string) string {
	text := e.head
	for len(text) > 0 {
		end := slices.Index(text, '\n')
		if end < 0 {
			return ""
		}
		if line := text[:end]; len(line) > len(name)+2 && string(line[:len(name)]) == name && line[len(name)] == ':' {
			return string(line[len(name)+2:])
		}
		text = text[end+1:]
	}
	return ""
}

// validators reports whether the target can be asked whether the answer has changed (RFC 9111, section 4.3.1).
func (e *entry) validators() (etag, modified string) { return e.get("Etag"), e.get("Last-Modified") }
