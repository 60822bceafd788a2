package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// eventSource is how a server's streams of events (text/event-stream) are reached.
type eventSource struct {
	path    string
	publish func(ctx context.Context, base string) error // sends wsPayload to all who listen,
	frame   int                                          // and how many bytes each of them gets: a chunk of HTTP/1.1 with one event
}

var mercureEvents = eventSource{
	mercurePath + "?topic=" + mercureTopic, publishMercure,
	chunked("id: urn:uuid:00000000-0000-0000-0000-000000000000\ndata: " + wsPayload + "\n\n"),
}

const (
	mercurePath   = "/.well-known/mercure"
	mercureTopic  = "all"
	mercureSecret = "the secret of the hub in benchmarks"
)

func chunked(event string) int { return len(fmt.Sprintf("%x\r\n%s\r\n", len(event), event)) }

func publishMercure(ctx context.Context, base string) error {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"mercure": map[string]any{"publish": []string{"*"}}}).SignedString([]byte(mercureSecret))
	if err != nil {
		return err
	}
	form := url.Values{"topic": {mercureTopic}, "data": {wsPayload}}.Encode()
	return post(ctx, base+mercurePath, form, "Content-Type", "application/x-www-form-urlencoded", "Authorization", "Bearer "+token)
}

// beginning is the comment that both servers begin a stream with, as a chunk: who has it will get what is published.
const beginning = "\r\n2\r\n:\n\r\n"

// openStream asks for a stream and reads the answer up to where events begin.
func openStream(ctx context.Context, srv *server, path string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(srv.base, "http://"))
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n", path)
	answer := make([]byte, 0, 4<<10)
	for err == nil && !bytes.HasSuffix(answer, []byte(beginning)) {
		var n int
		n, err = conn.Read(answer[len(answer):cap(answer)])
		if answer = answer[:len(answer)+n]; err == nil && n == 0 {
			err = io.ErrShortBuffer
		}
	}
	if err == nil && !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 ")) {
		err = fmt.Errorf("%s: %q", path, answer)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func listenToEvents(ctx context.Context, t wsTarget, srv *server, n int) (*crowd, error) {
	conns, err := dialAll(n, func() (net.Conn, error) { return openStream(ctx, srv, t.events.path) })
	if err != nil {
		return nil, err
	}
	return newCrowd(conns)
}

// driveEvents publishes one event after the other until duration is over, and counts what arrives.
func driveEvents(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch) (float64, error) {
	c, err := listenToEvents(ctx, t, srv, wsListeners)
	if err != nil {
		return 0, err
	}
	defer c.close()
	return c.count(ctx, duration, watch, t.events.frame, 1, func() error { return t.events.publish(ctx, srv.base) })
}

// driveIdleEvents measures how many bytes of the server's memory a stream takes on which nothing comes.
func driveIdleEvents(ctx context.Context, t wsTarget, srv *server, _ time.Duration, _ *wsWatch) (float64, error) {
	return memoryOf(ctx, srv, func(n int) (*crowd, error) { return listenToEvents(ctx, t, srv, n) })
}

// plainEvents is what Mercure stands beside: net/http, and for each stream a channel on which its handler waits.
type plainEvents struct {
	mu      sync.Mutex // guards streams
	streams map[chan []byte]bool
}

var plainSource = eventSource{
	"/events", func(ctx context.Context, base string) error { return post(ctx, base+"/events", wsPayload) },
	chunked("data: " + wsPayload + "\n\n"),
}

func (p *plainEvents) subscribe(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 16)
	p.mu.Lock()
	p.streams[events] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.streams, events)
		p.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	for event := []byte(":\n"); ; {
		if _, err := w.Write(event); err != nil || control.Flush() != nil {
			return
		}
		select {
		case event = <-events:
		case <-r.Context().Done():
			return
		}
	}
}

func (p *plainEvents) publish(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	event := fmt.Appendf(nil, "data: %s\n\n", body)
	p.mu.Lock()
	defer p.mu.Unlock()
	for events := range p.streams {
		select {
		case events <- event:
		default: // too slow
		}
	}
}
