//go:build !wasip1

package ws

import (
	"net/http"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/internal/mail"
)

// Test is a hub in memory, for tests: it drives the registered handler and keeps what it sends.
type Test struct {
	Sent       map[Conn][]string // by connection
	Subscribed map[Conn][]string
	Closed     map[Conn]int // codes
	Users      map[Conn]string
	Attributes map[Conn]map[string]string
}

var hub = &Test{}

// NewTest begins anew.
func NewTest() *Test {
	hub = &Test{Sent: map[Conn][]string{}, Subscribed: map[Conn][]string{}, Closed: map[Conn]int{}, Users: map[Conn]string{}, Attributes: map[Conn]map[string]string{}}
	return hub
}

// Open asks for a connection and returns what the handler answers.
func (*Test) Open(h *edge.TestHost, c Conn, r *http.Request) (status int) {
	h.Run(r, func() { status = int(open(int64(c))) })
	return status
}

// Message hands a message to the handler and returns what it answers.
func (*Test) Message(c Conn, m Message) int {
	mail.Put(m.Payload)
	kind := abi.WSText
	if m.Binary {
		kind = abi.WSBinary
	}
	return int(message(int64(c), kind, uint32(len(m.Payload))))
}

// Close tells the handler that a connection is closed.
func (*Test) Close(c Conn, code int) { closed(int64(c), uint32(code)) }

func send(conn int64, _ uint32, payload []byte) int32 {
	hub.Sent[Conn(conn)] = append(hub.Sent[Conn(conn)], string(payload))
	return 0
}

func subscribe(conn int64, topic string) int32 {
	hub.Subscribed[Conn(conn)] = append(hub.Subscribed[Conn(conn)], topic)
	return 0
}

func unsubscribe(conn int64, topic string) int32 {
	var kept []string
	for _, t := range hub.Subscribed[Conn(conn)] {
		if t != topic {
			kept = append(kept, t)
		}
	}
	hub.Subscribed[Conn(conn)] = kept
	return 0
}

func user(conn int64, buf []byte) int32 { return give(buf, hub.Users[Conn(conn)]) }

func setUser(conn int64, user string) int32 {
	hub.Users[Conn(conn)] = user
	return 0
}

func get(conn int64, name string, buf []byte) int32 {
	value, ok := hub.Attributes[Conn(conn)][name]
	if !ok {
		return int32(abi.ErrNotFound)
	}
	return give(buf, value)
}

func set(conn int64, name, value string) int32 {
	all := hub.Attributes[Conn(conn)]
	if all == nil {
		all = map[string]string{}
		hub.Attributes[Conn(conn)] = all
	}
	if all[name] = value; value == "" {
		delete(all, name)
	}
	return 0
}

func give(buf []byte, value string) int32 {
	if len(value) <= len(buf) {
		copy(buf, value)
	}
	return int32(len(value))
}

func disconnect(conn int64, code uint32, _ string) int32 {
	hub.Closed[Conn(conn)] = int(code)
	return 0
}
