package main

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// wsPayload is 128 bytes.
var wsPayload = strings.Repeat("websocket payload ", 8)[:128]

// wsPusherFrame is how long the frame is in which Edge sends it to a subscriber of Pusher.
var wsPusherFrame = 4 + len(`{"event":"e","channel":"all","data":""}`) + len(wsPayload)

func dialWS(ctx context.Context, base, path string) (*websocket.Conn, error) {
	conn, res, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(base, "http")+path, nil) //nolint:bodyclose // the body of an upgrade is the connection
	if err != nil && res != nil {
		err = fmt.Errorf("%w: %s", err, res.Status)
	}
	return conn, err
}

// dialAll opens n connections, a few at a time.
func dialAll[C io.Closer](n int, dial func() (C, error)) ([]C, error) {
	conns, errs := make([]C, n), make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() { // ends with the last connection
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				conns[i], errs[i] = dial()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for i, c := range conns {
			if errs[i] == nil {
				_ = c.Close()
			}
		}
		return nil, err
	}
	return conns, nil
}

// dialAllWS opens n WebSockets.
func dialAllWS(ctx context.Context, n int, base, path string) ([]*websocket.Conn, error) {
	return dialAll(n, func() (*websocket.Conn, error) { return dialWS(ctx, base, path) })
}

func closeAll(conns []*websocket.Conn) {
	for _, c := range conns {
		_ = c.Close()
	}
}

// socketsOf are the connections below WebSockets that have read all there was.
func socketsOf(conns []*websocket.Conn) []net.Conn {
	sockets := make([]net.Conn, len(conns))
	for i, c := range conns {
		sockets[i] = c.NetConn()
	}
	return sockets
}

var errEcho = errors.New("what comes back is not what was sent")

// driveEcho counts round trips until duration is over.
func driveEcho(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch) (float64, error) {
	conns, err := dialAllWS(ctx, wsEchoes, srv.base, t.echo)
	if err != nil {
		return 0, err
	}
	defer closeAll(conns)
	trips, err := echo(conns, duration, watch)
	return float64(trips), err
}

// wsEchoed is the frame in which wsPayload comes back, wsEcho the one in which it is sent.
var (
	wsEchoed = append([]byte{0x81, 126, 0, byte(len(wsPayload))}, wsPayload...)
	wsEcho   = masked(wsEchoed)
)

// masked is a frame with two bytes of length as a client sends it.
func masked(plain []byte) []byte {
	const head = 4
	mask := []byte{0x37, 0xfa, 0x21, 0x3d}
	frame := slices.Concat(plain[:head], mask, plain[head:])
	frame[1] |= 0x80
	for i := range plain[head:] {
		frame[head+len(mask)+i] ^= mask[i%len(mask)]
	}
	return frame
}

// publishPusher makes a signed call with so many events.
func publishPusher(ctx context.Context, base string, n int) error {
	event := `{"name":"e","channel":"all","data":"` + wsPayload + `"}`
	path, body := "/apps/bench/events", event
	if n > 1 {
		path, body = "/apps/bench/batch_events", `{"batch":[`+strings.Repeat(event+",", n-1)+event+`]}`
	}
	sum := md5.Sum([]byte(body))
	query := fmt.Sprintf("auth_key=key&auth_timestamp=%d&auth_version=1.0&body_md5=%s", time.Now().Unix(), hex.EncodeToString(sum[:]))
	mac := hmac.New(sha256.New, []byte("bench-secret"))
	mac.Write([]byte("POST\n" + path + "\n" + query))
	return post(ctx, base+path+"?"+query+"&auth_signature="+hex.EncodeToString(mac.Sum(nil)), body)
}

func publishGorilla(ctx context.Context, base string, n int) error {
	return post(ctx, fmt.Sprint(base, "/publish?n=", n), wsPayload)
}

func post(ctx context.Context, url, body string, header ...string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil { // all of it: what is not read to its end closes the connection
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("publish: %s", res.Status)
	}
	return nil
}
