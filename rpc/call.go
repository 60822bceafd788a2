package rpc

import (
	"context"
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
)

var (
	errTwoOpts   = errors.New("a call has two options, its sequence number and the length of its method's name, or nine with a trace")
	errMethodLen = errors.New("the name of the method is longer than the payload, or than any name may be")
)

// maxMethod bounds a method's name, which errors and logs repeat.
const maxMethod = 512

// turn is the right to send on a connection.
type turn struct {
	sync.Mutex
	lost bool // nobody takes answers any more
}

// call is one request on its way to an answer.
type call struct {
	seq    uint32
	codec  byte
	method string // service.Method
	arg    []byte // a part of in, once the connection has given it
	in     []byte // the buffer the call was read into
	out    []byte // the answer, a whole frame
	traced bool
	trace  Trace // where the call belongs, when the client said so
	target target
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
	switch h.NumOpts {
	case plainOptions:
	case tracedOptions:
		c.trace, c.traced = traceOf(h), true
	default:
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

// run makes the answer. It takes turn once the method has returned, and leaves it to the caller: of all answers of a connection
// only the one that is being sent exists as bytes, however many wait for a client that does not read.
func (c *call) run(s *Server, ctx context.Context, turn *turn) {
	if c.traced {
		ctx = &tracedContext{ctx, c.trace}
	}
	err := c.answer(s, ctx, turn)
	if err == nil && len(c.out)-c.headLen() > int(maxMaxFrame) {
		err = errors.New("the answer is larger than a frame can be")
	}
	if err != nil {
		c.fail(s, err)
	}
	c.seal()
}

// fail makes the answer an error.
func (c *call) fail(s *Server, err error) {
	s.failed.Add(1)
	c.begin(c.codec | frame.FlagError)
	c.out = append(c.out, err.Error()...)
}

// seal completes the header of the answer.
func (c *call) seal() { frame.Seal(c.out, uint32(len(c.out)-c.headLen())) }

// headLen is the length of the answer's header: two options.
func (c *call) headLen() int { return frame.HeaderLen + 8 }

// begin starts the answer over.
func (c *call) begin(flags byte) {
	c.out = frame.AppendHeader(c.out[:0], flags, 0, 0, c.seq, uint32(len(c.method)))
	c.out = append(c.out, c.method...)
}

// answer finds the method, decodes its argument, calls it, takes turn and encodes what it returned.
func (c *call) answer(s *Server, ctx context.Context, turn *turn) (err error) {
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

	var response any
	if c.target.request == nil {
		err = c.find(s)
	}
	handler, request := c.target.handler, c.target.request
	if request == nil {
		return err
	}
	if err == nil {
		response, err = handler.Call(ctx, c.target.method, request)
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

// find looks the method up and decodes its argument. It sets target before it decodes, so that the request is given back.
func (c *call) find(s *Server) error {
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
	c.target = target{handler, method, request}
	return c.decode(request)
}

// decode fills request from the argument; an error says which one was bad.
func (c *call) decode(request any) error {
	err := decode(c.codec, c.arg, request)
	if err == nil || err == errNotProto {
		return err
	}
	return fmt.Errorf("decode argument of %s: %w", c.method, err)
}

// encode appends response to the answer.
func (c *call) encode(response any) (err error) {
	c.out, err = encode(c.codec, c.out, response)
	if err == nil || err == errNotProto || err == errNotRaw {
		return err
	}
	return fmt.Errorf("encode answer of %s: %w", c.method, err)
}
