package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/edge-server/edge/internal/frame"
)

// Texts of Go's net/rpc and of RoadRunner, which clients search for.
const (
	textIllFormed = "rpc: service/method request ill-formed: "
	textNoService = "rpc: can't find service "
	textNoMethod  = "rpc: can't find method "
	textNotProto  = "message type is not a proto"
)

var (
	errNotProto  = errors.New(textNotProto)
	errTwoOpts   = errors.New("a call has two options, its sequence number and the length of its method's name")
	errMethodLen = errors.New("the name of the method is longer than the payload, or than any name may be")
)

// maxMethod bounds a method's name, which errors and logs repeat.
const maxMethod = 512

// turn is the right to send on a connection.
type turn struct {
	sync.Mutex
	lost bool // nobody takes answers any more
}

// codecNames are in the order in which a call that sets several bits is read. None set means GOB.
var codecNames = []struct {
	flag byte
	name string
}{
	{frame.FlagProto, "PROTO"}, {frame.FlagJSON, "JSON"}, {frame.FlagRaw, "RAW"}, {frame.FlagMsgpack, "MSGPACK"}, {frame.FlagGob, "GOB"},
}

// call is one request on its way to an answer.
type call struct {
	seq    uint32
	codec  byte
	method string // service.Method
	arg    []byte // a part of in, once the connection has given it
	in     []byte // the buffer the call was read into
	out    []byte // the answer, a whole frame
}

// maxPooledBuffer keeps the buffers of giant calls from staying in the pool.
const maxPooledBuffer = 64 << 10

var callPool = sync.Pool{New: func() any { return new(call) }}

func getCall() *call { return callPool.Get().(*call) }

func putCall(c *call) {
	in, out := c.in, c.out
	if cap(in) > maxPooledBuffer {
		in = nil
	}
	if cap(out) > maxPooledBuffer {
		out = nil
	}
	*c = call{in: in, out: out[:0], method: c.method}
	callPool.Put(c)
}

// parse reads a frame as a call. Its argument is a part of payload.
func (c *call) parse(h *frame.Header, payload []byte) error {
	if h.NumOpts != 2 {
		return errTwoOpts
	}
	n := h.Option(1)
	if n > maxMethod || int(n) > len(payload) {
		return errMethodLen
	}
	c.seq = h.Option(0)
	c.codec = codecOf(h.Flags)
	// The same few methods are called over and over: the name of the call before saves the copy.
	if string(payload[:n]) != c.method {
		c.method = string(payload[:n])
	}
	c.arg = payload[n:]
	return nil
}

func codecOf(flags byte) byte {
	for _, k := range codecNames {
		if flags&k.flag != 0 {
			return k.flag
		}
	}
	return frame.FlagGob
}

// run makes the answer. It takes turn once the method has returned, and leaves it to the caller: of all answers of a connection
// only the one that is being sent exists as bytes, however many wait for a client that does not read.
func (c *call) run(s *Server, turn *turn) {
	err := c.answer(s, turn)
	if err == nil && len(c.out)-c.headLen() > int(maxMaxFrame) {
		err = errors.New("the answer is larger than a frame can be")
	}
	if err != nil {
		s.failed.Add(1)
		c.begin(c.codec | frame.FlagError)
		c.out = append(c.out, err.Error()...)
	}
	frame.Seal(c.out, uint32(len(c.out)-c.headLen()))
}

// headLen is the length of the answer's header: two options.
func (c *call) headLen() int { return frame.HeaderLen + 8 }

// begin starts the answer over.
func (c *call) begin(flags byte) {
	c.out = frame.AppendHeader(c.out[:0], flags, 0, 0, c.seq, uint32(len(c.method)))
	c.out = append(c.out, c.method...)
}

// answer finds the method, decodes its argument, calls it, takes turn and encodes what it returned.
func (c *call) answer(s *Server, turn *turn) (err error) {
	waiting := true
	defer func() {
		if waiting {
			turn.Lock()
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("rpc method panicked", "method", c.method, "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("%s: internal error, see the log of the server", c.method)
		}
	}()

	dot := strings.LastIndexByte(c.method, '.')
	if dot < 0 {
		return errors.New(textIllFormed + c.method)
	}
	service, method := c.method[:dot], c.method[dot+1:]
	handler, ok := s.services[service]
	if !ok {
		return errors.New(textNoService + c.method)
	}
	request, ok := handler.NewRequest(method)
	if !ok {
		return errors.New(textNoMethod + c.method)
	}
	var response any
	if err = c.decode(request); err == nil {
		response, err = handler.Call(s.work, method, request)
	}
	if err == nil {
		turn.Lock()
		waiting = false
		c.begin(c.codec)
		if !turn.lost {
			err = c.encode(response)
		}
	}
	if r, ok := handler.(Releaser); ok {
		r.Release(request, response)
	}
	return err
}

// decode fills request from the argument; an empty argument leaves it as it is.
func (c *call) decode(request any) error {
	switch c.codec {
	case frame.FlagProto:
		m, ok := request.(ProtoMessage)
		if !ok {
			return errNotProto
		}
		return c.wrap(m.ParseProto(c.arg))
	case frame.FlagJSON:
		if len(c.arg) == 0 {
			return nil
		}
		return c.wrap(json.Unmarshal(c.arg, request))
	}
	for _, k := range codecNames {
		if k.flag == c.codec {
			return fmt.Errorf("%s codec is not supported: call with JSON or PROTO", k.name)
		}
	}
	return errNotProto
}

// wrap says which argument was bad.
func (c *call) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("decode argument of %s: %w", c.method, err)
}

// encode appends response to the answer.
func (c *call) encode(response any) error {
	if c.codec == frame.FlagProto {
		m, ok := response.(ProtoMessage)
		if !ok {
			return errNotProto
		}
		c.out = m.AppendProto(c.out)
		return nil
	}
	data, err := json.Marshal(response)
	if err != nil {
		return fmt.Errorf("encode answer of %s: %w", c.method, err)
	}
	c.out = append(c.out, data...)
	return nil
}
