// Package ws is for plugins that take WebSocket connections. Importing it makes a plugin such a one.
//
//	func init() {
//		ws.Handle(ws.Handler{
//			Open:    func(c ws.Conn, r *edge.Request) int { c.Subscribe("chat"); return 0 },
//			Message: func(c ws.Conn, m ws.Message) int { edge.Publish("chat", string(m.Payload)); return 0 },
//		})
//	}
package ws

import (
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/internal/kind"
	"github.com/edge-server/edge/sdk/go/edge/internal/mail"
)

func init() { kind.Other = true }

// Handler is what a plugin does with connections. What is nil does nothing.
type Handler struct {
	// Open is asked for a connection: 0 accepts it, a status from 400 to 599 refuses it.
	Open func(c Conn, r *edge.Request) int

	// Message gets what a client sent. 0 goes on, a code from 1000 to 4999 closes the connection.
	Message func(c Conn, m Message) int

	// Close is told that a connection is closed.
	Close func(c Conn, code int)
}

// Message is a text, or bytes. It is valid until the handler returns.
type Message struct {
	Payload []byte
	Binary  bool
}

// Conn is a connection: a number, which may be kept.
type Conn int64

var handler Handler

// Handle registers the handler. Call it in init.
func Handle(h Handler) { handler = h }

// Send sends a text to this client.
func (c Conn) Send(text string) error { return problem(send(int64(c), abi.WSText, []byte(text))) }

// SendBinary is Send for bytes.
func (c Conn) SendBinary(payload []byte) error {
	return problem(send(int64(c), abi.WSBinary, payload))
}

// Subscribe lets the client hear what is published to a topic.
func (c Conn) Subscribe(topic string) error { return problem(subscribe(int64(c), topic)) }

// Unsubscribe is its opposite.
func (c Conn) Unsubscribe(topic string) error { return problem(unsubscribe(int64(c), topic)) }

// Close closes the connection.
func (c Conn) Close(code int, reason string) error {
	return problem(disconnect(int64(c), uint32(code), reason))
}

// User is who the connection belongs to; empty is nobody.
func (c Conn) User() (string, error) {
	return text(func(buf []byte) int32 { return user(int64(c), buf) })
}

// SetUser says who the connection belongs to.
func (c Conn) SetUser(name string) error { return problem(setUser(int64(c), name)) }

// Get returns an attribute of the connection, "" without one.
func (c Conn) Get(name string) (string, error) {
	value, err := text(func(buf []byte) int32 { return get(int64(c), name, buf) })
	if err == abi.ErrNotFound {
		err = nil
	}
	return value, err
}

// Set gives the connection an attribute, which all events of it see; an empty value takes it away.
func (c Conn) Set(name, value string) error { return problem(set(int64(c), name, value)) }

// text calls a getter, once more with more room if need be.
func text(get func(buf []byte) int32) (string, error) {
	buf := make([]byte, 256)
	for {
		n := get(buf)
		if n < 0 {
			return "", abi.Errno(n)
		}
		if int(n) <= len(buf) {
			return string(buf[:n]), nil
		}
		buf = make([]byte, n)
	}
}

func problem(n int32) error {
	if n < 0 {
		return abi.Errno(n)
	}
	return nil
}

// open, message and closed are the exports.
func open(conn int64) int32 {
	defer edge.ExplainPanic(abi.WSOpen)
	if handler.Open == nil {
		return 0
	}
	return int32(handler.Open(Conn(conn), &edge.Request{}))
}

func message(conn int64, kind, n uint32) int32 {
	defer edge.ExplainPanic(abi.WSMessage)
	if handler.Message == nil {
		return 0
	}
	return int32(handler.Message(Conn(conn), Message{mail.Get(n), kind == abi.WSBinary}))
}

func closed(conn int64, code uint32) {
	defer edge.ExplainPanic(abi.WSClose)
	if handler.Close != nil {
		handler.Close(Conn(conn), int(code))
	}
}
