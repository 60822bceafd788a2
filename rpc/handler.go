package rpc

import "context"

// Handler is a service: it answers methods by name. Its methods have no type of this package, so that a feature can be a
// Handler without knowing rpc.
type Handler interface {
	// NewRequest returns a pointer for the argument of method to be decoded into, and false when there is no such method.
	NewRequest(method string) (request any, ok bool)

	// Call runs method with what NewRequest returned, filled in. The answer is encoded with the caller's codec. The text of an
	// error goes to the caller. Calls come from many goroutines at once. ctx ends when the server gives up waiting at a stop.
	Call(ctx context.Context, method string, request any) (response any, err error)
}

// Releaser is for a Handler that uses its values again.
type Releaser interface {
	// Release takes request and response back once the answer was encoded. After a panic of Call it is not called.
	Release(request, response any)
}

// ProtoMessage is what arguments and answers implement to be called with the protobuf codec. ParseProto may keep slices of its
// input until the answer was encoded.
type ProtoMessage interface {
	AppendProto([]byte) []byte
	ParseProto([]byte) error
}

// RawMessage is for arguments and answers that have bytes of their own with the RAW codec. ParseRaw may keep slices of its input
// until the answer was encoded.
type RawMessage interface {
	AppendRaw([]byte) []byte
	ParseRaw([]byte) error
}

// Methods is a Handler made of functions.
type Methods map[string]Method

// Method is one function of Methods; see Func.
type Method struct {
	request func() any
	call    func(context.Context, any) (any, error)
}

// Func makes a Method of a function. JSON decodes into a Req; protobuf needs *Req to be a ProtoMessage, and Resp too.
func Func[Req, Resp any](f func(context.Context, Req) (Resp, error)) Method {
	return Method{
		request: func() any { return new(Req) },
		call:    func(ctx context.Context, req any) (any, error) { return f(ctx, *req.(*Req)) },
	}
}

// NewRequest returns a new argument of the function.
func (m Methods) NewRequest(method string) (any, bool) {
	f, ok := m[method]
	if !ok {
		return nil, false
	}
	return f.request(), true
}

// Call calls the function.
func (m Methods) Call(ctx context.Context, method string, request any) (any, error) {
	return m[method].call(ctx, request)
}
