package rpc

import "strings"

// Quick is for a Handler with calls that never wait. Such a call is run by the goroutine that read it, which saves starting
// another one and waking it: most of what a get from memory costs. Meanwhile nothing else is read from the connection.
type Quick interface {
	// Quick reports whether Call will return at once, without waiting for a lock that is held for long, a disk or a network.
	Quick(method string, request any) bool
}

// maxQuick bounds the argument of a call that is decoded by the goroutine that reads.
const maxQuick = 64 << 10

// target is the method that a call names: found, its argument decoded.
type target struct {
	handler Handler
	method  string // without the service
	request any
}

// quick decodes the argument of a call that may be quick, and reports whether it is. One that cannot be decoded is none: run does
// it again and makes the error an answer.
func (c *call) quick(s *Server) (yes bool) {
	dot := strings.LastIndexByte(c.method, '.')
	if dot < 0 || len(c.arg) > maxQuick {
		return false
	}
	handler := s.services[c.method[:dot]]
	q, ok := handler.(Quick)
	if !ok {
		return false
	}
	defer func() {
		if recover() != nil {
			yes = false
		}
	}()
	method := c.method[dot+1:]
	request, ok := handler.NewRequest(method)
	if !ok {
		return false
	}
	if c.decode(request) != nil {
		if r, ok := handler.(Releaser); ok {
			r.Release(request, nil)
		}
		return false
	}
	c.target = target{handler, method, request}
	return q.Quick(method, request)
}
