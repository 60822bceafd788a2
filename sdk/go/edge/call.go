package edge

import (
	"io"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/abi"
)

// Call is a request to elsewhere ([Call.Do], which allow.net must permit), or to a PHP pool of this server ([Call.DoPHP],
// allow.php). Redirects are not followed.
type Call struct {
	Method  string   // GET if it is empty
	URL     string   // for PHP a path
	Header  []string // "Name: value"
	Body    []byte
	Timeout time.Duration // for all of it; 0: 30 s, for PHP 5 s
}

// head is the call as the server takes it. A line feed in a value would be another header.
func (c *Call) head() (string, error) {
	method := c.Method
	if method == "" {
		method = "GET"
	}
	lines := append([]string{method + " " + c.URL}, c.Header...)
	for _, line := range lines {
		if strings.ContainsAny(line, "\r\n") {
			return "", ErrInvalid
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// Do sends the request and waits for the header of the answer, which must be closed.
func (c *Call) Do() (*Answer, error) {
	head, err := c.head()
	if err != nil {
		return nil, err
	}
	h, err := check(httpDo(head, c.Body, millis(c.Timeout)))
	if err != nil {
		return nil, err
	}
	return newAnswer(int32(h), answerFunctions{httpStatus, httpHeader, httpHeaderNames, httpRead, httpClose}), nil
}

// DoPHP is Do for a PHP pool.
func (c *Call) DoPHP(pool string) (*Answer, error) {
	head, err := c.head()
	if err != nil {
		return nil, err
	}
	h, err := check(phpCall(pool, head, c.Body, millis(c.Timeout)))
	if err != nil {
		return nil, err
	}
	return newAnswer(int32(h), answerFunctions{phpStatus, phpHeader, phpHeaderNames, phpRead, phpClose}), nil
}

// answerFunctions are those of one namespace, so that a plugin imports, and must be granted, only what it uses.
type answerFunctions struct {
	status      func(h int32) int32
	header      func(h int32, name string, buf []byte) int64
	headerNames func(h int32, buf []byte) int64
	read        func(h int32, buf []byte) int64
	close       func(h int32) int32
}

// Answer is the answer to a [Call]: an io.ReadCloser.
type Answer struct {
	// Status is the status code.
	Status int

	h     int32
	via   answerFunctions
	ended bool
}

var _ io.ReadCloser = (*Answer)(nil)

func newAnswer(h int32, via answerFunctions) *Answer {
	return &Answer{Status: int(via.status(h)), h: h, via: via}
}

func (a *Answer) list(get func(buf []byte) int64) []string {
	n := get(scratch)
	if n > 0 && grow(abi.CountLen(n).Len()) {
		n = get(scratch)
	}
	if n <= 0 || abi.CountLen(n).Len() > uint32(len(scratch)) {
		return nil
	}
	return split(scratch[:abi.CountLen(n).Len()])
}

// Get returns the first value of a header, "" without one.
func (a *Answer) Get(name string) string {
	if values := a.Values(name); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Values returns all values of a header.
func (a *Answer) Values(name string) []string {
	return a.list(func(buf []byte) int64 { return a.via.header(a.h, name, buf) })
}

// Names returns the names of the headers, in lower case, sorted.
func (a *Answer) Names() []string {
	return a.list(func(buf []byte) int64 { return a.via.headerNames(a.h, buf) })
}

// Read reads on in the body.
func (a *Answer) Read(p []byte) (int, error) {
	if a.ended {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := a.via.read(a.h, p)
	if n < 0 {
		return 0, Errno(n)
	}
	a.ended = abi.EOFLen(n).EOF()
	if a.ended && abi.EOFLen(n).Len() == 0 {
		return 0, io.EOF
	}
	return int(abi.EOFLen(n).Len()), nil
}

// Close ends the answer.
func (a *Answer) Close() error { return done(a.via.close(a.h)) }

// Conn is a TCP connection: an io.ReadWriteCloser. allow.net must permit it.
type Conn struct {
	// Timeout is for each read and write; 0 is 5 s.
	Timeout time.Duration

	h int32
}

var _ io.ReadWriteCloser = (*Conn)(nil)

// Dial connects to "host:port".
func Dial(address string, timeout time.Duration) (*Conn, error) { return dial(address, 0, timeout) }

// DialTLS connects to "host:port" by TLS, verified for the host.
func DialTLS(address string, timeout time.Duration) (*Conn, error) {
	return dial(address, abi.DialTLS, timeout)
}

func dial(address string, flags uint32, timeout time.Duration) (*Conn, error) {
	h, err := check(tcpDial(address, flags, millis(timeout)))
	if err != nil {
		return nil, err
	}
	return &Conn{h: int32(h)}, nil
}

// Read waits for at least one byte.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := check(tcpRead(c.h, p, millis(c.Timeout)))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write writes all of p. After an error the connection is of no use.
func (c *Conn) Write(p []byte) (int, error) { return check(tcpWrite(c.h, p, millis(c.Timeout))) }

// Close closes the connection.
func (c *Conn) Close() error { return done(tcpClose(c.h)) }
