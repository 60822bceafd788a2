package wasmhost

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/sdk/abi"
)

// What a guest pays for headers, of which a client sends as many as http.limits lets it: names are sorted, values copied.
const (
	fuelPerName  = 200
	fuelPerValue = 30

	// fuelPerTrailer is for a byte of the Trailer header, of which each name is looked for.
	fuelPerTrailer = 32
)

// maxHeaderName is the longest name that is looked at: it is copied and put into its canonical form.
const maxHeaderName = 16 << 10

const hostHeader = "Host" // not in the header map of a request: net/http keeps it in Request.Host

// headerName returns the canonical form of a name in the guest's memory, or "" if it cannot be the name of a header. Names
// met before come out of the instance's table, which saves the two allocations of making the string and its form.
func (i *instance) headerName(mem api.Memory, ptr, n uint32) string {
	raw := guestMemory(mem, "name", ptr, n)
	if n > maxHeaderName {
		return ""
	}
	if key, ok := i.recent.find(ptr, raw); ok {
		return key
	}
	if known, ok := i.names[string(raw)]; ok {
		i.recent.note(ptr, known)
		return known.key
	}
	name := string(raw)
	if !httpguts.ValidHeaderFieldName(name) {
		return ""
	}
	key := http.CanonicalHeaderKey(name)
	if len(i.names) < maxNames && len(name) <= 64 {
		i.names[name] = headerName{name, key}
		i.recent.note(ptr, headerName{name, key})
	}
	return key
}

// needHeaderName is headerName for changes, where a wrong name traps.
func (i *instance) needHeaderName(function string, mem api.Memory, ptr, n uint32) string {
	name := i.headerName(mem, ptr, n)
	if name == "" {
		trap("%s: %.40q is not a header name", function, guestMemory(mem, "name", ptr, min(n, 256)))
	}
	return name
}

// needHeaderValue keeps line breaks and other control characters out of headers, whatever the guest copied there. It pays for
// the change of name to that value.
func (i *instance) needHeaderValue(function, name string, mem api.Memory, ptr, n uint32) string {
	raw := guestMemory(mem, "value", ptr, n)
	i.exchange.spend(function, len(name)+headerCost+len(raw))
	if !plainText(raw) && !httpguts.ValidHeaderFieldValue(string(raw)) {
		trap("%s: %.80q is not a header value: it has control characters", function, raw)
	}
	return i.slab.string(raw)
}

// plainText reports whether b has no byte below a space and no DEL, looking at eight bytes at once: in each byte of the word,
// the highest bit of
//
//	(v - 0x20) &^ v    is set if v < 0x20, for the first such byte at least
//	(x - 0x01) &^ x    is set if x = v ^ 0x7f is 0, likewise
func plainText(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		x := v ^ 0x7f*ones
		if ((v-0x20*ones)&^v|(x-ones)&^x)&highs != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// values returns what the guest sees under a canonical name.
func (i *instance) values(kind uint32, name string) []string {
	x := &i.exchange
	switch kind {
	case abi.HeaderRequest:
		if name == hostHeader && x.r.Host != "" {
			x.host[0] = x.r.Host
			return x.host[:]
		}
		return x.r.Header[name]
	case abi.HeaderResponse:
		h := x.responseHeader()
		values := h[name]
		if len(values) > 0 && x.phase == phaseResponse && declaresTrailer(h, name) { // net/http has both in one map
			return nil
		}
		return values
	case abi.HeaderRequestTrailers:
		return x.r.Trailer[name]
	case abi.HeaderResponseTrailers:
		h := x.responseHeader()
		if values, ok := h[http.TrailerPrefix+name]; ok {
			return values
		}
		if declaresTrailer(h, name) {
			return h[name]
		}
		return nil
	}
	trap("header kind %d is unknown; there are 0 to 3", kind)
	return nil
}

// declaresTrailer reports whether the Trailer header announces name.
func declaresTrailer(h http.Header, name string) bool {
	return slices.ContainsFunc(h["Trailer"], func(list string) bool {
		for declared := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(declared), name) {
				return true
			}
		}
		return false
	})
}

func getHeaderValues(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetHeaderValues)
	kind, buf, limit := uint32(stack[0]), uint32(stack[3]), uint32(stack[4])
	name := i.headerName(mem, uint32(stack[1]), uint32(stack[2]))
	if kind == abi.HeaderRequest && i.desk.at != 0 && i.exchange.phase == phaseRequest {
		i.asked(guestMemory(mem, "name", uint32(stack[1]), uint32(stack[2])), name)
	}
	values := i.values(kind, name)
	if len(values) > 8 { // fewer are part of the call's price
		i.spend(uint64(len(values)) * fuelPerValue)
	}
	stack[0] = writeList(mem, buf, limit, values, false)
}

func getHeaderNames(i *instance, mem api.Memory, stack []uint64) {
	i.needRequest(abi.GetHeaderNames)
	kind, buf, limit := uint32(stack[0]), uint32(stack[1]), uint32(stack[2])
	i.list = i.appendNames(i.list[:0], kind)
	i.spend(uint64(len(i.list)) * fuelPerName)
	slices.Sort(i.list)
	stack[0] = writeList(mem, buf, limit, i.list, true)
	clear(i.list)
}

func (i *instance) appendNames(list []string, kind uint32) []string {
	x := &i.exchange
	switch kind {
	case abi.HeaderRequest:
		if x.r.Host != "" {
			list = append(list, hostHeader)
		}
		return appendKeys(list, x.r.Header, func(name string) string {
			if name == hostHeader && x.r.Host != "" {
				return ""
			}
			return name
		})
	case abi.HeaderResponse:
		h := x.responseHeader()
		trailers := x.phase == phaseResponse && len(h["Trailer"]) > 0
		if trailers {
			i.spendTrailers(h)
		}
		return appendKeys(list, h, func(name string) string {
			if strings.HasPrefix(name, http.TrailerPrefix) || trailers && declaresTrailer(h, name) {
				return ""
			}
			return name
		})
	case abi.HeaderRequestTrailers:
		return appendKeys(list, x.r.Trailer, func(name string) string { return name })
	case abi.HeaderResponseTrailers:
		h := x.responseHeader()
		i.spendTrailers(h)
		return appendKeys(list, h, func(name string) string {
			if trailer, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
				return trailer
			}
			if declaresTrailer(h, name) {
				return name
			}
			return ""
		})
	}
	trap("header kind %d is unknown; there are 0 to 3", kind)
	return nil
}

// spendTrailers pays for looking at each name of h whether the Trailer header announces it.
func (i *instance) spendTrailers(h http.Header) {
	length := 0
	for _, list := range h["Trailer"] {
		length += len(list)
	}
	if length > 0 {
		i.spend(uint64(length) * uint64(len(h)) * fuelPerTrailer)
	}
}

// appendKeys appends the names that have values and that rename does not turn into "".
func appendKeys(list []string, h http.Header, rename func(string) string) []string {
	for name, values := range h {
		if len(values) == 0 {
			continue
		}
		if name = rename(name); name != "" {
			list = append(list, name)
		}
	}
	return list
}

// writeList packs strings with a NUL after each, if they fit into limit bytes at buf, and returns their count and length.
//
//	"accept", "host"  ->  61 63 63 65 70 74 00 68 6f 73 74 00, 2<<32 | 12
func writeList(mem api.Memory, buf, limit uint32, items []string, lower bool) uint64 {
	length := uint64(len(items))
	for _, item := range items {
		length += uint64(len(item))
	}
	if length > 0 && length <= uint64(limit) {
		packList(guestMemory(mem, "buf", buf, uint32(length)), items, lower)
	}
	return uint64(abi.PackCountLen(uint32(len(items)), uint32(min(length, 1<<32-1))))
}

func packList(to []byte, items []string, lower bool) {
	for _, item := range items {
		n := copy(to, item)
		if lower || strings.IndexByte(item, 0) >= 0 {
			clean(to[:n], lower)
		}
		to[n] = 0
		to = to[n+1:]
	}
}

// clean lowers ASCII letters, and makes a NUL inside of a value, which only a handler of this process can have put there, a
// space: it would end the string for the guest.
func clean(b []byte, lower bool) {
	for i, c := range b {
		switch {
		case c == 0:
			b[i] = ' '
		case lower && 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
}

// change is what set, add and remove have in common: the map and the key that the guest may change now.
func (i *instance) change(function string, kind uint32, name string) (http.Header, string) {
	x := &i.exchange
	switch kind {
	case abi.HeaderRequest:
		if x.phase != phaseRoute {
			i.needBeforeNext(function)
		}
		return x.r.Header, name
	case abi.HeaderResponse:
		if x.phase != phaseRoute {
			i.needAnswer(function)
		}
		h := x.responseHeader()
		x.remember(h, name)
		return h, name
	case abi.HeaderRequestTrailers:
		i.needBeforeNext(function)
		i.needTrailers(function)
		if x.r.Trailer == nil {
			x.own().Trailer = http.Header{}
		}
		return x.r.Trailer, name
	case abi.HeaderResponseTrailers:
		i.needAnswer(function)
		i.needTrailers(function)
		h := x.responseHeader()
		if _, ok := h[name]; !ok || !declaresTrailer(h, name) {
			name = http.TrailerPrefix + name
		}
		x.remember(h, name)
		return h, name
	}
	trap("%s: header kind %d is unknown; there are 0 to 3", function, kind)
	return nil, ""
}

func (i *instance) needTrailers(function string) {
	if i.exchange.features&abi.FeatureTrailers == 0 {
		trap("%s: changing trailers needs the feature trailers", function)
	}
}

func setHeaderValue(i *instance, mem api.Memory, stack []uint64) {
	kind := uint32(stack[0])
	name := i.needHeaderName(abi.SetHeaderValue, mem, uint32(stack[1]), uint32(stack[2]))
	header, key := i.change(abi.SetHeaderValue, kind, name)
	value := i.needHeaderValue(abi.SetHeaderValue, name, mem, uint32(stack[3]), uint32(stack[4]))
	if kind == abi.HeaderRequest && name == hostHeader {
		if !httpguts.ValidHostHeader(value) {
			trap("set_header_value: %.80q is not a host", value)
		}
		i.exchange.own().Host = value
		return
	}
	// A new slice: the old one may be shared, as handlers put package-level slices into headers.
	header[key] = i.slab.list(value)
}

func addHeaderValue(i *instance, mem api.Memory, stack []uint64) {
	kind := uint32(stack[0])
	name := i.needHeaderName(abi.AddHeaderValue, mem, uint32(stack[1]), uint32(stack[2]))
	header, key := i.change(abi.AddHeaderValue, kind, name)
	value := i.needHeaderValue(abi.AddHeaderValue, name, mem, uint32(stack[3]), uint32(stack[4]))
	if kind == abi.HeaderRequest && name == hostHeader {
		trap("add_header_value: a request has one Host; use set_header_value")
	}
	header[key] = append(slices.Clip(header[key]), value)
}

func removeHeader(i *instance, mem api.Memory, stack []uint64) {
	kind := uint32(stack[0])
	name := i.needHeaderName(abi.RemoveHeader, mem, uint32(stack[1]), uint32(stack[2]))
	i.exchange.spend(abi.RemoveHeader, len(name))
	header, key := i.change(abi.RemoveHeader, kind, name)
	if kind == abi.HeaderRequest && name == hostHeader {
		i.exchange.own().Host = ""
		return
	}
	delete(header, key)
}
