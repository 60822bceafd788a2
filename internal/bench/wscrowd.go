package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// wsCrowd is how many connections the figures about crowds are of.
const wsCrowd = 10_000

// crowd are connections that listen: what comes is counted and thrown away.
type crowd struct {
	conns    []net.Conn
	received atomic.Int64 // bytes
	goal     atomic.Int64
	arrived  chan struct{} // gets one when received passes goal

	closing  atomic.Bool
	drinking sync.WaitGroup
}

// newCrowd begins to drink.
func newCrowd(conns []net.Conn) (*crowd, error) {
	c := &crowd{arrived: make(chan struct{}, 1), conns: conns}
	if err := c.drink(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// listen connects n listeners; a target's hello has them say what they listen to.
func listen(ctx context.Context, t wsTarget, srv *server, n int) (*crowd, error) {
	conns, err := dialAllWS(ctx, n, srv.base, t.listen)
	if err != nil {
		return nil, err
	}
	if t.hello != "" {
		if err := subscribe(conns, t.hello); err != nil {
			closeAll(conns)
			return nil, err
		}
	}
	return newCrowd(socketsOf(conns))
}

func subscribe(conns []*websocket.Conn, hello string) error {
	for _, conn := range conns {
		if err := conn.WriteMessage(websocket.TextMessage, []byte(hello)); err != nil {
			return err
		}
		for _, want := range []string{"connection_established", "subscription_succeeded"} {
			if _, got, err := conn.ReadMessage(); err != nil || !bytes.Contains(got, []byte(want)) {
				return fmt.Errorf("waiting for %s: %q, %w", want, got, err)
			}
		}
	}
	return nil
}

// took counts what has come.
func (c *crowd) took(n int) {
	goal, now := c.goal.Load(), c.received.Add(int64(n))
	if now >= goal && now-int64(n) < goal {
		c.arrived <- struct{}{}
	}
}

// await publishes and waits until so many more bytes have come.
func (c *crowd) await(ctx context.Context, more int, publish func() error) error {
	c.goal.Add(int64(more))
	if err := publish(); err != nil {
		return err
	}
	select {
	case <-c.arrived:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(startTimeout):
		return fmt.Errorf("%d bytes of %d arrived", c.received.Load(), c.goal.Load())
	}
}

// close ends the connections at once, so that their ports are free for the next ones.
func (c *crowd) close() {
	c.closing.Store(true)
	if runtime.GOOS == "linux" { // elsewhere readers end with their connections
		c.drinking.Wait()
	}
	defer c.drinking.Wait()
	for _, conn := range c.conns {
		if conn == nil { // its socket has gone to the loop of the one thread
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
}

// driveFanOut publishes one message after the other until duration is over, and counts what arrives.
func driveFanOut(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch) (float64, error) {
	return drivePublishing(ctx, t, srv, duration, watch, 1)
}

// driveBursts publishes as many messages at once as a call may have, before it waits for them.
func driveBursts(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch) (float64, error) {
	return drivePublishing(ctx, t, srv, duration, watch, wsBurst)
}

func drivePublishing(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch, burst int) (float64, error) {
	c, err := listen(ctx, t, srv, wsListeners)
	if err != nil {
		return 0, err
	}
	defer c.close()
	return c.count(ctx, duration, watch, t.frame, burst, func() error { return t.publish(ctx, srv.base, burst) })
}

// count publishes so many messages at once, and again when all have them, until duration is over. It returns how many have arrived.
func (c *crowd) count(ctx context.Context, duration time.Duration, watch *wsWatch, frame, burst int, publish func() error) (float64, error) {
	watch.begin()
	defer watch.end()
	messages := 0
	for end := time.Now().Add(duration); time.Now().Before(end); messages += burst {
		if err := c.await(ctx, frame*len(c.conns)*burst, publish); err != nil {
			return 0, fmt.Errorf("message %d: %w", messages+1, err)
		}
	}
	return float64(messages * len(c.conns)), nil
}

// driveBroadcast measures in how many milliseconds 99 of 100 have a message; the median of those that fit into duration.
func driveBroadcast(ctx context.Context, t wsTarget, srv *server, duration time.Duration, _ *wsWatch) (float64, error) {
	c, err := listen(ctx, t, srv, wsCrowd)
	if err != nil {
		return 0, err
	}
	defer c.close()
	var took []float64
	for end := time.Now().Add(duration); time.Now().Before(end); {
		most := t.frame * (len(c.conns) * 99 / 100)
		began := time.Now()
		if err := c.await(ctx, most, func() error { return t.publish(ctx, srv.base, 1) }); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began))/float64(time.Millisecond))
		all := int64(len(took) * t.frame * len(c.conns))
		for c.received.Load() < all && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		c.goal.Store(all)
	}
	slices.Sort(took)
	return took[len(took)/2], ctx.Err()
}

// driveIdle measures how many bytes of the server's memory a connection takes that listens and gets nothing.
func driveIdle(ctx context.Context, t wsTarget, srv *server, _ time.Duration, _ *wsWatch) (float64, error) {
	return memoryOf(ctx, srv, func(n int) (*crowd, error) { return listen(ctx, t, srv, n) })
}

func memoryOf(ctx context.Context, srv *server, listen func(n int) (*crowd, error)) (float64, error) {
	first, err := listen(100) // so that what there is once is there
	if err != nil {
		return 0, err
	}
	first.close()
	before, _, err := srv.usage()
	if err != nil {
		return 0, err
	}
	c, err := listen(wsCrowd)
	if err != nil {
		return 0, err
	}
	defer c.close()
	for range 2 { // how much of what is free stays depends on how the heap grew from one collection to the next
		if err := collectGarbage(ctx, srv); err != nil {
			return 0, err
		}
	}
	least := int64(0)
	for range idleLooks { // what the handshakes took is given back after a while
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(idlePause):
		}
		now, _, err := srv.usage()
		if err != nil {
			return 0, err
		}
		if least == 0 || now.serverResidentKiB < least {
			least = now.serverResidentKiB
		}
	}
	return float64(least-before.serverResidentKiB) * 1024 / wsCrowd, nil
}

// collectGarbage has the server do what it does every two minutes: until then, what handshakes took is there or not by chance.
func collectGarbage(ctx context.Context, srv *server) error {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if srv.socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", srv.socket)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.collect, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return fmt.Errorf("ask the server to collect its garbage: %w", err)
	}
	defer res.Body.Close()
	if _, err = io.Copy(io.Discard, res.Body); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("ask the server to collect its garbage: %s", res.Status)
	}
	return err
}

const (
	idleLooks = 10
	idlePause = time.Second
)
