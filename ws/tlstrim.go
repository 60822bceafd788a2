package ws

import (
	"bytes"
	"crypto/tls"
	"net"
	"reflect"
	"unsafe"
)

// trimTLS gives back what crypto/tls has grown for the handshake and keeps as long as the connection lasts: two buffers of together 3.5 KiB
// that once held the client's first message, a fifth of what an idle connection costs. Nobody may be reading from the connection. There is
// no other way to them than by their names; where a version of Go has none of that name and type, nothing happens (see /RATIONALE.md).
func trimTLS(conn net.Conn) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return
	}
	fields := reflect.ValueOf(secure).Elem()
	for _, name := range [...]string{"rawInput", "hand"} {
		field := fields.FieldByName(name)
		if !field.IsValid() || field.Type() != reflect.TypeFor[bytes.Buffer]() {
			continue
		}
		if b := (*bytes.Buffer)(unsafe.Pointer(field.UnsafeAddr())); b.Len() == 0 {
			*b = bytes.Buffer{}
		}
	}
}
