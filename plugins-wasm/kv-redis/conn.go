package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
)

const (
	// stale is how long a connection may have been idle that is used for a command which must not be sent twice, without a look
	// whether the server still has it.
	stale = time.Second

	// failFast is for how long a server that could not be reached is not tried again.
	failFast = 100 * time.Millisecond
)

// client is the connection of an instance. The server calls one operation at a time, and there are as many instances as operations.
type client struct {
	config  config
	conn    *edge.Conn
	in      *bufio.Reader
	out     []byte
	pending int // commands in out
	used    time.Time
	failed  time.Time // when connecting failed last
	why     error
}

// command adds a command to those that the next flush sends.
func (c *client) command(args ...any) {
	c.out = appendCommand(c.out, args...)
	c.pending++
}

// send sends the commands and reads their replies. again says that sending them twice does no harm: a connection that turns out
// to be gone is replaced then.
func (c *client) send(again bool) ([]reply, error) {
	defer func() { c.out, c.pending = c.out[:0], 0 }()
	if cap(c.out) > 1<<20 {
		defer func() { c.out = nil }()
	}
	reused := c.conn != nil
	if reused && !again && time.Since(c.used) > stale && !c.answers() {
		reused = false
	}
	replies, begun, err := c.try()
	if err != nil && reused && again && !begun && !errors.Is(err, edge.ErrTimeout) {
		replies, _, err = c.try()
	}
	return replies, err
}

// answers looks whether the connection still works, and closes it if not.
func (c *client) answers() bool {
	if _, err := c.conn.Write(appendCommand(nil, "PING")); err == nil {
		if rep, err := readReply(c.in, 0); err == nil && rep.kind == '+' {
			return true
		}
	}
	c.close()
	return false
}

// try is one attempt; begun says that a reply has come. After an error there is no connection.
func (c *client) try() (replies []reply, begun bool, err error) {
	if c.conn == nil {
		if err := c.connect(); err != nil {
			return nil, false, err
		}
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, false, c.broken("send", err)
	}
	for range c.pending {
		rep, err := readReply(c.in, 0)
		if err != nil {
			return nil, len(replies) > 0, c.broken("receive", err)
		}
		replies = append(replies, rep)
	}
	c.used = time.Now()
	return replies, true, nil
}

func (c *client) broken(what string, err error) error {
	c.close()
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: the server has closed the connection", edge.ErrUnavailable)
	case errors.Is(err, errProtocol):
		err = fmt.Errorf("%w: %w", edge.ErrUnavailable, err)
	}
	return fmt.Errorf("redis %s: %s: %w", c.config.Address, what, err)
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close() // it is of no use
	}
	c.conn = nil
}

// connect opens the connection and says who we are.
func (c *client) connect() error {
	if c.why != nil && time.Since(c.failed) < failFast {
		return c.why
	}
	c.why = c.open()
	if c.why != nil {
		c.failed = time.Now()
		c.close()
	}
	return c.why
}

func (c *client) open() (err error) {
	dial := edge.Dial
	if c.config.TLS {
		dial = edge.DialTLS
	}
	if c.conn, err = dial(c.config.Address, c.config.connectTimeout); err != nil {
		if errors.Is(err, edge.ErrDenied) {
			return fmt.Errorf("redis: %w: the plugin's allow.net needs tcp://%s", err, c.config.Address)
		}
		return fmt.Errorf("redis %s: connect: %w", c.config.Address, err)
	}
	c.conn.Timeout = c.config.timeout
	c.in = bufio.NewReaderSize(c.conn, maxLine)
	var hello []byte
	count := 0
	if c.config.Password != "" {
		if c.config.Username != "" {
			hello = appendCommand(hello, "AUTH", c.config.Username, c.config.Password)
		} else {
			hello = appendCommand(hello, "AUTH", c.config.Password)
		}
		count++
	}
	hello = appendCommand(hello, "SELECT", int64(c.config.DB))
	if _, err := c.conn.Write(hello); err != nil {
		return fmt.Errorf("redis %s: connect: %w", c.config.Address, err)
	}
	for range count + 1 {
		rep, err := readReply(c.in, 0)
		if err != nil {
			return c.broken("connect", err)
		}
		if rep.kind == '-' {
			return fmt.Errorf("redis %s: connect: %w", c.config.Address, refused(rep.text))
		}
	}
	c.used = time.Now()
	return nil
}

// refused is an error of the server.
func refused(text []byte) error {
	code, _, _ := bytes.Cut(text, []byte(" "))
	kind := error(edge.ErrInternal)
	switch string(code) {
	case "OOM":
		kind = edge.ErrLimit
	case "LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "BUSY", "NOREPLICAS", "MISCONF":
		kind = edge.ErrUnavailable
	case "NOAUTH", "WRONGPASS", "NOPERM":
		kind = edge.ErrDenied
	case "WRONGTYPE":
		kind = edge.ErrInvalid
	case "ERR":
		if bytes.Contains(text, []byte("not an integer")) || bytes.Contains(text, []byte("would overflow")) {
			kind = edge.ErrInvalid
		}
	}
	return fmt.Errorf("%w: redis says: %.200q", kind, text)
}
