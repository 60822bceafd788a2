package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/frame"
)

// Client calls a Server, or RoadRunner, with JSON: `rr workers` and `rr reset` are made of it. It is not for several goroutines.
type Client struct {
	nc     net.Conn
	frames *frame.Reader
	seq    uint32
}

// Dial connects to an address as RR_RPC has it: tcp://127.0.0.1:6001 or unix:///run/rpc.sock.
func Dial(ctx context.Context, address string) (*Client, error) {
	network, target, found := strings.Cut(address, "://")
	if !found || network != "tcp" && network != "unix" || target == "" {
		return nil, fmt.Errorf("rpc: %q is not an address: write tcp://127.0.0.1:6001 or unix:///path", address)
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	nc, err := dialer.DialContext(ctx, network, target)
	if err != nil {
		return nil, fmt.Errorf("rpc: %w", err)
	}
	return &Client{nc: nc, frames: frame.NewReader(nc, uint32(maxMaxFrame))}, nil
}

// Call sends argument to service.Method and fills answer. ctx ends a wait; the client is of no use after that.
func (c *Client) Call(ctx context.Context, method string, argument, answer any) error {
	payload, err := json.Marshal(argument)
	if err != nil {
		return fmt.Errorf("encode argument of %s: %w", method, err)
	}
	defer context.AfterFunc(ctx, func() { _ = c.nc.SetDeadline(time.Unix(1, 0)) })()
	c.seq++
	call := frame.AppendFrame(nil, frame.FlagJSON, 0, append([]byte(method), payload...), c.seq, uint32(len(method)))
	if _, err := c.nc.Write(call); err != nil {
		return c.broken(ctx, method, err)
	}
	h, body, err := c.frames.Next()
	if err != nil {
		return c.broken(ctx, method, err)
	}
	if h.NumOpts != 2 || h.Option(0) != c.seq || int(h.Option(1)) > len(body) {
		return fmt.Errorf("%s: the answer is that of another call", method)
	}
	body = body[h.Option(1):]
	if h.Is(frame.FlagError) {
		return errors.New(string(body))
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("decode answer of %s: %w", method, err)
	}
	return nil
}

// broken says why a call had no answer.
func (c *Client) broken(ctx context.Context, method string, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("call %s: %w", method, err)
}

// Close ends the connection.
func (c *Client) Close() error { return c.nc.Close() }
