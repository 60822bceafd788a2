package core_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

const cyclesConfig = `
http: {routes: [{match: {path: [/chat]}, ws: chat}]}
rpc: {}
ws:
  limits: {rate: 0}
  pusher: {apps: {main: {id: "1", key: app-key, secret: app-secret, subscription_count: true}}}
  mercure: {anonymous: true, subscriptions: true, publisher: {secret: "!ChangeThisMercureHubJWTSecretKey!"}, history: {size: 100}}
  raw: {chat: {php: app}}
php: {app: {command: [%s, %s], user: %s, workers: {min: 2, max: 2}, env: {SDK: %s}}}
`

// TestClientsLeaveNothingBehind has clients of Pusher, Mercure and a raw application come over each version of HTTP, listen, get what is
// published and go: half of them with a goodbye. Afterwards the process has what it had before. It runs alone, as it counts what is everybody's.
func TestClientsLeaveNothingBehind(t *testing.T) {
	php, root := testenv.PHP(t), testenv.Root(t)
	s := edgetest.Start(t, fmt.Sprintf(cyclesConfig, php, filepath.Join(root, "core", "testdata", "ws", "worker.php"), currentUser(t), filepath.Join(root, "sdk", "php")))
	c := &cycles{t: t, s: s, each: testenv.Count(8, 300)}
	rounds := testenv.Count(3, 10)
	c.round()
	http.DefaultClient.CloseIdleConnections()
	const slack = 15 // of ours and of the runtime; one left behind by each client would be more
	before := look(t)
	testenv.Eventually(t, "nobody is there any more", func() bool { // the first round may have begun what stays
		now := look(t)
		lower := now.goroutines < before.goroutines || now.files < before.files
		before = now
		return !lower
	})
	t.Logf("%d clients in each of %d rounds; before: %s", 9*c.each, rounds, before)
	for range rounds {
		c.round()
		http.DefaultClient.CloseIdleConnections()
		var now usage
		testenv.Eventually(t, "goroutines and files are back", func() bool {
			now = look(t)
			return now.goroutines <= before.goroutines+slack && now.files <= before.files+slack
		})
		t.Logf("after:  %s", now)
	}
	after := look(t)
	if after.heap > before.heap+before.heap/4+8<<20 {
		t.Errorf("the heap has grown from %d to %d KiB", before.heap>>10, after.heap>>10)
	}
	if testenv.Count(0, 1) == 1 && after.resident > before.resident+before.resident/4+16<<20 {
		t.Errorf("resident memory has grown from %d to %d KiB", before.resident>>10, after.resident>>10)
	}
}

// usage is what this process has, with the server in it.
type usage struct {
	goroutines, files int
	heap, resident    uint64
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d files, heap %d KiB, resident %d KiB", u.goroutines, u.files, u.heap>>10, u.resident>>10)
}

func look(t testing.TB) usage {
	t.Helper()
	for range 3 { // pools are emptied by the second
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{goroutines: runtime.NumGoroutine(), heap: m.HeapAlloc}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil { // elsewhere there is none
		u.files = len(files)
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages uint64
		fmt.Sscan(string(statm), &size, &pages)
		u.resident = pages * uint64(os.Getpagesize())
	}
	return u
}

// cycles are the clients.
type cycles struct {
	t    *testing.T
	s    *edgetest.Server
	each int // of a protocol over a version of HTTP

	ready sync.WaitGroup
}

// round has all come, gives each what it waits for, and has all go.
func (c *cycles) round() {
	trust := c.s.Modes(c.t)[1].Client.Transport.(*http.Transport).TLSClientConfig
	var carriers []*carrier
	for range (c.each + perCarrier - 1) / perCarrier {
		carriers = append(carriers, newCarrier(trust.RootCAs))
	}
	defer func() {
		for _, k := range carriers {
			k.close()
		}
	}()
	var all sync.WaitGroup
	begin := make(chan struct{}, 64) // come at the same time: PHP has to accept those of the raw application
	for i := range c.each {
		for _, version := range []string{"h1", "h2", "h3"} {
			for name, life := range map[string]func(*cycleConn) error{"pusher": c.pusher, "mercure": c.mercure, "raw": c.raw} {
				c.ready.Add(1)
				all.Go(func() { // ends with the client
					begin <- struct{}{}
					conn := &cycleConn{carrier: carriers[i/perCarrier], version: version, polite: i%2 == 0, ready: sync.OnceFunc(func() {
						<-begin
						c.ready.Done()
					})}
					defer conn.leave()
					if err := life(conn); err != nil {
						c.t.Errorf("%s over %s: %v", name, version, err)
					}
				})
			}
		}
	}
	c.ready.Wait()
	c.publishPusher()
	c.publishMercure()
	all.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// carrier is a connection of HTTP/2 and one of HTTP/3, for a few clients: how many streams one may have is limited.
type carrier struct {
	http2 *http2.Transport
	http3 *http3.Transport

	mu     sync.Mutex // guards dialed
	dialed []net.Conn
}

const perCarrier = 10 // clients of each protocol

func newCarrier(roots *x509.CertPool) *carrier {
	k := &carrier{http3: &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	k.http2 = &http2.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialTLSContext: func(ctx context.Context, network, address string, cfg *tls.Config) (net.Conn, error) {
		conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, network, address)
		if err == nil {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.dialed = append(k.dialed, conn)
		}
		return conn, err
	}}
	return k
}

func (k *carrier) close() {
	_ = k.http3.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, conn := range k.dialed { // also those that still reset their streams
		_ = conn.Close()
	}
}

// cycleConn is a connection or stream, whatever carries it.
type cycleConn struct {
	*carrier
	version string
	polite  bool   // says goodbye
	ready   func() // it listens, or will never
	in      *bufio.Reader
	out     io.Writer
	hangUp  func()
}

func (conn *cycleConn) leave() {
	conn.ready()
	if conn.hangUp != nil {
		conn.hangUp()
	}
}

// frame is of a client, with a mask of zeros.
func (conn *cycleConn) send(first byte, payload string) error {
	b := []byte{first, 0x80 | byte(len(payload)), 0, 0, 0, 0}
	if len(payload) > 125 {
		b = []byte{first, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}
	}
	_, err := conn.out.Write(append(b, payload...))
	return err
}

// until reads frames until one has the text in it.
func (conn *cycleConn) until(text string) error {
	for {
		var head [2]byte
		if _, err := io.ReadFull(conn.in, head[:]); err != nil {
			return fmt.Errorf("waiting for %s: %w", text, err)
		}
		n := int(head[1])
		if n == 126 {
			var size [2]byte
			if _, err := io.ReadFull(conn.in, size[:]); err != nil {
				return err
			}
			n = int(size[0])<<8 | int(size[1])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(conn.in, payload); err != nil {
			return err
		}
		switch {
		case strings.Contains(string(payload), text):
			return nil
		case head[0] == 0x89:
			if err := conn.send(0x8a, string(payload)); err != nil {
				return err
			}
		case head[0] == 0x88:
			return fmt.Errorf("waiting for %s: closed: %q", text, payload)
		}
	}
}

// goodbye is the closing handshake, for those who do it.
func (conn *cycleConn) goodbye() error {
	if !conn.polite {
		return nil
	}
	if err := conn.send(0x88, "\x03\xe8"); err != nil {
		return err
	}
	return conn.until("\x03\xe8")
}

const cyclePatience = 2 * time.Minute

// open makes a WebSocket.
func (c *cycles) open(conn *cycleConn, path string) error {
	if conn.version == "h1" {
		tcp, err := net.Dial("tcp", strings.TrimPrefix(c.s.HTTP, "http://"))
		if err != nil {
			return err
		}
		_ = tcp.SetDeadline(time.Now().Add(cyclePatience))
		conn.hangUp, conn.out, conn.in = func() { tcp.Close() }, tcp, bufio.NewReaderSize(tcp, 512)
		fmt.Fprintf(tcp, "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path)
		res, err := http.ReadResponse(conn.in, nil)
		if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New(res.Status)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cyclePatience)
	body, out := io.Pipe()
	conn.hangUp = func() { out.Close(); cancel() }
	r, err := http.NewRequestWithContext(ctx, http.MethodConnect, c.s.HTTPS+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Sec-Websocket-Version", "13")
	var transport http.RoundTripper = conn.http2
	if conn.version == "h3" {
		transport, r.Proto = conn.http3, "websocket"
	} else {
		r.Header[":protocol"] = []string{"websocket"}
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	conn.hangUp = func() { out.Close(); cancel(); res.Body.Close() }
	conn.in, conn.out = bufio.NewReaderSize(res.Body, 512), out
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

func (c *cycles) pusher(conn *cycleConn) error {
	err := c.open(conn, "/app/app-key?protocol=7")
	if err == nil {
		err = conn.until("pusher:connection_established")
	}
	if err == nil {
		err = conn.send(0x81, `{"event":"pusher:subscribe","data":{"channel":"cycle"}}`)
	}
	if err == nil {
		err = conn.until("subscription_succeeded")
	}
	if err != nil {
		return err
	}
	conn.ready()
	if err := conn.until(`"tick"`); err != nil {
		return err
	}
	return conn.goodbye()
}

func (c *cycles) raw(conn *cycleConn) error {
	err := c.open(conn, "/chat?room=cycle&user=anna")
	if err == nil {
		err = conn.send(0x81, "hello")
	}
	if err == nil {
		err = conn.until("hello")
	}
	if err != nil {
		return err
	}
	conn.ready()
	return conn.goodbye()
}

func (c *cycles) mercure(conn *cycleConn) error {
	base, transport := c.s.HTTPS, http.RoundTripper(conn.http2)
	switch conn.version {
	case "h1":
		base, transport = c.s.HTTP, &http.Transport{DisableKeepAlives: true}
	case "h3":
		transport = conn.http3
	}
	ctx, cancel := context.WithTimeout(context.Background(), cyclePatience)
	conn.hangUp = cancel
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/.well-known/mercure?topic=cycle/{n}", nil)
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	conn.ready()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if lines.Text() == "data: tick" {
			return nil
		}
	}
	return errors.New("the stream has ended")
}

func (c *cycles) publishPusher() {
	body := `{"name":"tick","channel":"cycle","data":"1"}`
	sum := md5.Sum([]byte(body))
	query := fmt.Sprintf("auth_key=app-key&auth_timestamp=%d&auth_version=1.0&body_md5=%x", time.Now().Unix(), sum)
	mac := hmac.New(sha256.New, []byte("app-secret"))
	mac.Write([]byte("POST\n/apps/1/events\n" + query))
	c.post(c.s.HTTP+"/apps/1/events?"+query+"&auth_signature="+hex.EncodeToString(mac.Sum(nil)), "application/json", body, "")
}

func (c *cycles) publishMercure() {
	claims := jwt.MapClaims{"mercure": map[string]any{"publish": []string{"*"}}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte("!ChangeThisMercureHubJWTSecretKey!"))
	if err != nil {
		c.t.Fatal(err)
	}
	form := url.Values{"topic": {"cycle/1"}, "data": {"tick"}}
	c.post(c.s.HTTP+"/.well-known/mercure", "application/x-www-form-urlencoded", form.Encode(), token)
}

func (c *cycles) post(target, kind, body, token string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %s", res.Status, text)
	}
}
