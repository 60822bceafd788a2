package rpc

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/edge-server/edge/internal/frame"
)

// A caller chooses its codec by a bit in the flags of its frame, and gets its answer in the same one. What each makes of a value:
//
//	JSON     encoding/json: names of fields in any case, bytes as base64
//	GOB      encoding/gob: Go clients, such as RoadRunner's own command line
//	MSGPACK  names of fields as in Go; see checkMsgpack for what is refused
//	PROTO    arguments and answers that are a ProtoMessage
//	RAW      bytes and texts as they are
//
// An empty argument leaves the request as it is, whatever the codec. The reference in every doubt is goridge v3.

// codecNames are in the order in which a call that sets several bits is read. None set means GOB.
var codecNames = []struct {
	flag byte
	name string
}{
	{frame.FlagProto, "PROTO"}, {frame.FlagJSON, "JSON"}, {frame.FlagRaw, "RAW"}, {frame.FlagMsgpack, "MSGPACK"}, {frame.FlagGob, "GOB"},
}

// Texts of goridge.
const (
	textNotProto = "message type is not a proto"
	textNotRaw   = "unknown Raw payload type"
)

var (
	errNotProto = errors.New(textNotProto)
	errNotRaw   = errors.New(textNotRaw)
	errNothing  = errors.New("the answer is nothing, which GOB has no way to say: call with JSON")
)

func codecOf(flags byte) byte {
	for _, k := range codecNames {
		if flags&k.flag != 0 {
			return k.flag
		}
	}
	return frame.FlagGob
}

// decode fills request, a pointer, from the argument of a call.
func decode(codec byte, arg []byte, request any) error {
	if codec == frame.FlagProto {
		m, ok := request.(ProtoMessage)
		if !ok {
			return errNotProto
		}
		return m.ParseProto(arg)
	}
	if len(arg) == 0 {
		return nil
	}
	switch codec {
	case frame.FlagJSON:
		if strict, ok := request.(JSONChecker); ok && !utf8.Valid(arg) {
			return strict.NotUTF8(arg)
		}
		return json.Unmarshal(arg, request)
	case frame.FlagMsgpack:
		if err := checkMsgpack(arg); err != nil {
			return err
		}
		return msgpack.Unmarshal(arg, request)
	case frame.FlagRaw:
		return decodeRaw(arg, request)
	}
	if err := checkGob(arg); err != nil {
		return err
	}
	return gob.NewDecoder(bytes.NewReader(arg)).Decode(request)
}

// A JSONChecker is a request for which it matters that encoding/json puts U+FFFD in the place of what is not UTF-8.
type JSONChecker interface {
	// NotUTF8 is what is wrong with an argument in JSON that is not UTF-8.
	NotUTF8(arg []byte) error
}

// decodeRaw gives bytes to whoever takes them. Methods that take nothing say so by a bool, which is left alone.
func decodeRaw(arg []byte, request any) error {
	switch r := request.(type) {
	case RawMessage:
		return r.ParseRaw(arg)
	case *[]byte:
		*r = append(*r, arg...)
	case *string:
		*r = string(arg)
	case *bool:
	default:
		return errNotRaw
	}
	return nil
}

// encode appends the answer to dst.
func encode(codec byte, dst []byte, response any) ([]byte, error) {
	switch codec {
	case frame.FlagProto:
		m, ok := response.(ProtoMessage)
		if !ok {
			return dst, errNotProto
		}
		return m.AppendProto(dst), nil
	case frame.FlagJSON:
		data, err := json.Marshal(response)
		return append(dst, data...), err
	case frame.FlagMsgpack:
		data, err := msgpack.Marshal(response)
		return append(dst, data...), err
	case frame.FlagRaw:
		switch r := response.(type) {
		case RawMessage:
			return r.AppendRaw(dst), nil
		case []byte:
			return append(dst, r...), nil
		case string:
			return append(dst, r...), nil
		}
		return dst, errNotRaw
	}
	if response == nil {
		return dst, errNothing
	}
	w := appender{dst}
	err := gob.NewEncoder(&w).Encode(response)
	return w.b, err
}

// appender is an io.Writer that appends.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// maxItems bounds the elements that the lists of one argument have together, in codecs whose decoder has no bound.
const maxItems = 1 << 17

// What a msgpack argument may be. The decoder calls itself for every level, and a stack that overflows ends the process.
const (
	maxMsgpackDepth = 100
	maxMsgpackItems = 1 << 20
)

var (
	errMsgpackShort = errors.New("msgpack: the message ends too early")
	errMsgpackDeep  = fmt.Errorf("msgpack: more than %d levels", maxMsgpackDepth)
	errMsgpackMany  = fmt.Errorf("msgpack: more than %d elements", maxMsgpackItems)
	errMsgpackList  = fmt.Errorf("msgpack: more than %d elements of lists", maxItems)
	errMsgpackByte  = errors.New("msgpack: 0xc1 begins nothing")
)

// checkMsgpack reports whether the first value of b is whole, without calling itself and without making anything of it. Lengths
// that it announces are there, so what the decoder makes room for is bounded by the frame.
func checkMsgpack(b []byte) error {
	var stack [maxMsgpackDepth]uint64 // elements to come, by level
	depth, items := 0, 0
	listed := uint64(0)
	stack[0] = 1
	for depth >= 0 {
		if stack[depth] == 0 {
			depth--
			continue
		}
		stack[depth]--
		if items++; items > maxMsgpackItems {
			return errMsgpackMany
		}
		size, elements, err := msgpackHead(b)
		if err != nil {
			return err
		}
		if size > uint64(len(b)) || elements > uint64(len(b)) {
			return errMsgpackShort
		}
		if isMsgpackList(b[0]) {
			if listed += elements; listed > maxItems {
				return errMsgpackList
			}
		}
		b = b[size:]
		if elements > 0 {
			if depth++; depth == maxMsgpackDepth {
				return errMsgpackDeep
			}
			stack[depth] = elements
		}
	}
	return nil
}

func isMsgpackList(c byte) bool { return c >= 0x90 && c < 0xa0 || c == 0xdc || c == 0xdd }

// msgpackHead returns the bytes of the value that b begins with, its elements left out, and how many elements follow.
func msgpackHead(b []byte) (size, elements uint64, err error) {
	if len(b) == 0 {
		return 0, 0, errMsgpackShort
	}
	c := b[0]
	switch {
	case c < 0x80 || c >= 0xe0: // small numbers
		return 1, 0, nil
	case c < 0x90:
		return 1, 2 * uint64(c&0x0f), nil
	case c < 0xa0:
		return 1, uint64(c & 0x0f), nil
	case c < 0xc0:
		return 1 + uint64(c&0x1f), 0, nil
	}
	k := msgpackKinds[c-0xc0]
	if k.invalid {
		return 0, 0, errMsgpackByte
	}
	if len(b) < 1+k.lengthBytes {
		return 0, 0, errMsgpackShort
	}
	var n uint64
	for _, digit := range b[1 : 1+k.lengthBytes] {
		n = n<<8 | uint64(digit)
	}
	if k.perElement > 0 {
		return uint64(1 + k.lengthBytes), n * k.perElement, nil
	}
	return uint64(1+k.lengthBytes) + k.fixed + n, 0, nil
}

// msgpackKinds are the values that begin with 0xc0 to 0xdf: how many bytes their length has, what follows beside that many bytes,
// and for arrays and maps how many elements each of the counted ones is.
var msgpackKinds = [32]struct {
	lengthBytes int
	fixed       uint64
	perElement  uint64
	invalid     bool
}{
	{}, {invalid: true}, {}, {}, // nil, false, true
	{lengthBytes: 1}, {lengthBytes: 2}, {lengthBytes: 4}, // bin
	{lengthBytes: 1, fixed: 1}, {lengthBytes: 2, fixed: 1}, {lengthBytes: 4, fixed: 1}, // ext
	{fixed: 4}, {fixed: 8}, // float
	{fixed: 1}, {fixed: 2}, {fixed: 4}, {fixed: 8}, // uint
	{fixed: 1}, {fixed: 2}, {fixed: 4}, {fixed: 8}, // int
	{fixed: 2}, {fixed: 3}, {fixed: 5}, {fixed: 9}, {fixed: 17}, // fixext
	{lengthBytes: 1}, {lengthBytes: 2}, {lengthBytes: 4}, // str
	{lengthBytes: 2, perElement: 1}, {lengthBytes: 4, perElement: 1}, // array
	{lengthBytes: 2, perElement: 2}, {lengthBytes: 4, perElement: 2}, // map
}
