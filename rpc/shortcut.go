package rpc

import (
	"strings"

	"github.com/edge-server/edge/internal/frame"
)

// Shortcut is for a Handler with calls that are bytes in and bytes out and never wait. They are answered between the read and the
// write of the frames, with nothing made of them in between, which is half of what a get from memory costs beside its system calls.
type Shortcut interface {
	// Shortcut returns what answers calls of method in the codec RAW, or nil. It appends the answer to dst. When it reports false it
	// has changed nothing, and the call goes the usual way, where the errors are. It keeps neither dst nor arg.
	Shortcut(method string) func(dst, arg []byte) (answer []byte, ok bool)
}

// shortcut is that of the method which a connection called last.
type shortcut struct {
	method string                                    // service.Method
	append func(dst, arg []byte) (_ []byte, ok bool) // nil: there is none
}

// shortcut finds the shortcut of a method.
func (s *Server) shortcut(name string) shortcut {
	found := shortcut{method: name}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if h, ok := s.services[name[:dot]].(Shortcut); ok {
			found.append = h.Shortcut(name[dot+1:])
		}
	}
	return found
}

// try makes the answer. When it panics it has done nothing: the usual way does the same, and says so.
func (s *shortcut) try(dst, arg []byte) (answer []byte, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return s.append(dst, arg)
}

// short answers a call by its shortcut, and reports false when it did nothing.
func (c *conn) short(call *call) bool {
	if call.codec != frame.FlagRaw || call.traced || len(call.arg) > maxQuick {
		return false
	}
	if call.method != c.shortcut.method {
		c.shortcut = c.server.shortcut(call.method)
	}
	if c.shortcut.append == nil {
		return false
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	call.begin(call.codec)
	out, ok := c.shortcut.try(call.out, call.arg)
	if !ok || len(out)-call.headLen() > int(maxMaxFrame) {
		return false
	}
	call.out = out
	call.seal()
	c.server.calls.Add(1)
	c.write(out)
	return true
}
