package fastcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Type is what a record is for.
type Type uint8

// The types of records that a web server and PHP exchange.
const (
	BeginRequest    Type = 1
	EndRequest      Type = 3
	Params          Type = 4
	Stdin           Type = 5
	Stdout          Type = 6
	Stderr          Type = 7
	GetValues       Type = 9
	GetValuesResult Type = 10
)

const (
	// HeaderLen is the length of a record's header.
	HeaderLen = 8
	// MaxContent is the most that one record carries.
	MaxContent = 65535

	version   = 1
	responder = 1
	keepConn  = 1
)

// ErrTooLong means a parameter that fits into no record: PHP reads each record by itself.
var ErrTooLong = errors.New("a parameter is longer than a FastCGI record")

// AppendHeader appends the header of a record with n bytes of content, for the request of that number. There is one request at a
// time on a connection, but with a number of its own: what is left of the one before cannot pass for its answer.
func AppendHeader(b []byte, t Type, id uint16, n int) []byte {
	if t >= GetValues {
		id = 0 // management records belong to no request
	}
	return append(b, version, byte(t), byte(id>>8), byte(id), byte(n>>8), byte(n), 0, 0)
}

// AppendBegin appends the record that begins a request on a connection that stays open after it.
func AppendBegin(b []byte, id uint16) []byte {
	b = AppendHeader(b, BeginRequest, id, 8)
	return append(b, 0, responder, keepConn, 0, 0, 0, 0, 0)
}

// AppendGetValues appends a question that every FastCGI application answers when it gets to it, and that runs no script.
func AppendGetValues(b []byte) []byte {
	const name = "FCGI_MPXS_CONNS"
	b = AppendHeader(b, GetValues, 0, 2+len(name))
	b = append(b, byte(len(name)), 0)
	return append(b, name...)
}

// ParamWriter appends parameters to a buffer, as records of whole pairs.
type ParamWriter struct {
	Buf   []byte
	id    uint16
	start int // of the record at hand, or -1
	err   error
}

// NewParamWriter appends to b parameters of the request of that number.
func NewParamWriter(b []byte, id uint16) ParamWriter { return ParamWriter{Buf: b, id: id, start: -1} }

// Add appends a parameter.
func (w *ParamWriter) Add(name, value string) {
	w.begin(len(name), len(value))
	w.Buf = append(w.Buf, name...)
	w.Buf = append(w.Buf, value...)
}

// AddHeader appends a request header under the name that CGI gives it: HTTP_ACCEPT_ENCODING. Several values are joined.
func (w *ParamWriter) AddHeader(name string, values []string, separator string) {
	length := len(separator) * (len(values) - 1)
	for _, v := range values {
		length += len(v)
	}
	const prefix = "HTTP_"
	w.begin(len(prefix)+len(name), length)
	w.Buf = append(w.Buf, prefix...)
	for i := range len(name) {
		w.Buf = append(w.Buf, upper(name[i]))
	}
	for i, v := range values {
		if i > 0 {
			w.Buf = append(w.Buf, separator...)
		}
		w.Buf = append(w.Buf, v...)
	}
}

func upper(c byte) byte {
	switch {
	case 'a' <= c && c <= 'z':
		return c - 'a' + 'A'
	case c == '-':
		return '_'
	}
	return c
}

// begin makes room for a pair: in the record at hand, or in a new one.
func (w *ParamWriter) begin(name, value int) {
	size := sizeLen(name) + sizeLen(value) + name + value
	if size > MaxContent {
		w.err = ErrTooLong
	}
	if w.start < 0 || len(w.Buf)-w.start-HeaderLen+size > MaxContent {
		w.endRecord()
		w.start = len(w.Buf)
		w.Buf = AppendHeader(w.Buf, Params, w.id, 0)
	}
	w.Buf = appendSize(appendSize(w.Buf, name), value)
}

// endRecord notes the length of the record at hand in its header.
func (w *ParamWriter) endRecord() {
	if w.start >= 0 {
		binary.BigEndian.PutUint16(w.Buf[w.start+4:], uint16(min(len(w.Buf)-w.start-HeaderLen, MaxContent)))
	}
	w.start = -1
}

// End completes the last record and returns the buffer. More parameters may follow in records of their own.
func (w *ParamWriter) End() ([]byte, error) {
	w.endRecord()
	return w.Buf, w.err
}

func sizeLen(n int) int {
	if n < 128 {
		return 1
	}
	return 4
}

func appendSize(b []byte, n int) []byte {
	if n < 128 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint32(b, uint32(n)|1<<31)
}

// End is the content of an END_REQUEST record.
type End struct {
	AppStatus uint32 // exit status of the script
	Protocol  uint8  // 0 when the request was handled
}

// Values of End.Protocol.
const (
	Complete = iota
	CannotMultiplex
	Overloaded
	UnknownRole
)

// ParseEnd reads the content of an END_REQUEST record.
func ParseEnd(content []byte) (End, error) {
	if len(content) < 5 {
		return End{}, fmt.Errorf("%w: END_REQUEST of %d bytes", ErrRecord, len(content))
	}
	return End{binary.BigEndian.Uint32(content), content[4]}, nil
}
