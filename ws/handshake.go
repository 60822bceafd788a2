package ws

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpguts"
)

// stream is a connection that is one of several in a connection of HTTP/2 or HTTP/3. Its end is the end of the handler, so what goes on
// there runs on the handler's goroutine.
type stream interface {
	net.Conn

	// Begin sends the head of the answer: 200 and these headers.
	Begin(http.Header) error

	// AfterHandler has f called when the handler has returned; the stream ends with f.
	AfterHandler(f func())
}

// ServeHTTP makes a connection of the request, or says why not. It returns when the handshake is done: the connection goes on by itself.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if refused := e.connect(w, r); refused != nil {
		for name, values := range refused.Header {
			w.Header()[name] = values
		}
		if refused.Whole {
			w.WriteHeader(refused.Status)
			_, _ = io.WriteString(w, refused.Text) // the client may have gone
			return
		}
		http.Error(w, refused.Text, refused.Status)
	}
}

func (e *Endpoint) connect(w http.ResponseWriter, r *http.Request) *Refusal {
	counters := &e.space.counters
	key, refused := checkHandshake(r)
	if refused != nil {
		counters.refusedHandshake.Add(1)
		return refused
	}
	if !e.originAllowed(r) {
		counters.refusedOrigin.Add(1)
		return &Refusal{Status: http.StatusForbidden, Text: "403 forbidden: pages of this origin may not connect"}
	}
	if !e.hub.enter() {
		counters.refusedHandshake.Add(1)
		return &Refusal{Status: http.StatusServiceUnavailable, Text: "503 the server stops", Header: http.Header{"Retry-After": {"1"}}}
	}
	c := &Conn{id: e.hub.ids.next(), endpoint: e, opened: time.Now().UnixMilli(), writing: true}
	c.remote = remoteAddr(r)
	if refused := e.space.reserve(c, &e.limits); refused != nil {
		e.hub.serving.Done()
		return refused
	}
	connected := false
	defer func() { // also when the protocol panics
		if !connected {
			c.leave()
			e.space.release(c)
			e.hub.serving.Done()
		}
	}()
	refused, accepted := e.admit(w, r, c, key)
	if connected = refused == nil; !connected && accepted {
		e.protocol.OnClose(c, CloseAbnormal, "")
	}
	return refused
}

// admit asks the protocol and answers the handshake. From then on the connection looks after itself.
func (e *Endpoint) admit(w http.ResponseWriter, r *http.Request, c *Conn, key string) (refused *Refusal, accepted bool) {
	offered := tokens(r.Header["Sec-Websocket-Protocol"])
	for _, name := range e.subprotocols {
		if slices.Contains(offered, name) {
			c.subprotocol = name
			break
		}
	}
	if err := e.protocol.Accept(r, c); err != nil {
		e.space.counters.refusedProtocol.Add(1)
		if errors.As(err, &refused) {
			return refused, false
		}
		e.log.Error("ws: accept a connection", "space", e.space.name, "error", err)
		return &Refusal{Status: http.StatusInternalServerError, Text: "500 internal server error"}, false
	}
	if c.subprotocol != "" && !slices.Contains(offered, c.subprotocol) {
		c.subprotocol = "" // clients close a connection with one that they did not offer
	}
	if refused := e.space.admit(c, &e.limits); refused != nil {
		return refused, true
	}
	extensions := ""
	if e.limits.Compression {
		c.deflate, extensions = negotiate(r.Header["Sec-Websocket-Extensions"])
	}
	if err := c.open(w, r, key, extensions); err != nil {
		return &Refusal{Status: http.StatusInternalServerError, Text: "500 the connection cannot be used for WebSocket"}, true
	}
	e.space.counters.opened.Add(1)
	return nil, true
}

// checkHandshake finds the key of a request that asks for a WebSocket (RFC 6455, 4.2.1). Over HTTP/2 and HTTP/3 (RFC 8441, 5; RFC 9220) there is
// none; the server makes an extended CONNECT look like an upgrade otherwise.
func checkHandshake(r *http.Request) (key string, refused *Refusal) {
	bad := func(text string) (string, *Refusal) {
		return "", &Refusal{Status: http.StatusBadRequest, Text: "400 bad request: " + text}
	}
	upgrade := &Refusal{Status: http.StatusUpgradeRequired, Text: "426 upgrade required: this is a WebSocket",
		Header: http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-Websocket-Version": {"13"}}}
	switch {
	case r.Method != http.MethodGet:
		return "", &Refusal{Status: http.StatusMethodNotAllowed, Text: "405 method not allowed: a WebSocket begins with GET", Header: http.Header{"Allow": {"GET"}}}
	case !httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket"), !httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade"):
		return "", upgrade
	case !r.ProtoAtLeast(1, 1):
		return bad("WebSocket needs HTTP/1.1")
	case r.ContentLength != 0 || len(r.TransferEncoding) > 0:
		return bad("the handshake has a body")
	}
	if r.ProtoMajor == 1 {
		keys := r.Header["Sec-Websocket-Key"]
		if len(keys) != 1 || !validKey(keys[0]) {
			return bad("Sec-WebSocket-Key must be 16 bytes in base64, once")
		}
		key = keys[0]
	}
	if versions := r.Header["Sec-Websocket-Version"]; len(versions) != 1 || versions[0] != "13" {
		upgrade.Text = "426 upgrade required: the version of WebSocket here is 13"
		return "", upgrade
	}
	for _, line := range r.Header["Sec-Websocket-Protocol"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" && !httpguts.ValidHeaderFieldName(name) { // empty elements do not count (RFC 9110, 5.6.1.2)
				return bad("Sec-WebSocket-Protocol is a list of names")
			}
		}
	}
	return key, nil
}

func validKey(key string) bool {
	var b [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Strict().Decode(b[:], []byte(key))
	return err == nil && n == 16
}

// tokens are the elements of a list header.
func tokens(lines []string) (list []string) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				list = append(list, name)
			}
		}
	}
	return list
}

func remoteAddr(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		ip, _ := netip.ParseAddr(r.RemoteAddr)
		return ip.Unmap()
	}
	return addr.Addr().Unmap()
}

// handshakeTime is how long a client may take to take the answer.
const handshakeTime = 10 * time.Second

// open takes the connection over, answers, and lets it live.
func (c *Conn) open(w http.ResponseWriter, r *http.Request, key, extensions string) error {
	header := w.Header().Clone()
	if header == nil {
		header = http.Header{}
	}
	if extensions != "" {
		header.Set("Sec-Websocket-Extensions", extensions)
	}
	if c.subprotocol != "" {
		header.Set("Sec-Websocket-Protocol", c.subprotocol)
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take the connection over: %w", err)
	}
	c.mu.Lock() // somebody may close the connection already
	c.conn = conn
	c.mu.Unlock()
	if s, ok := conn.(stream); ok {
		c.giveUpAfter(c.endpoint.limits.WriteTimeout)
		if err := s.Begin(header); err != nil {
			conn.Close()
			c.abandon()
			return nil // there is nobody to tell
		}
		s.AfterHandler(func() { c.serve(nil, false) })
		return nil
	}
	ahead := takeAhead(buffered)
	trimTLS(conn)
	c.stopProbes(conn)
	conn.SetDeadline(time.Now().Add(handshakeTime))
	_, err = conn.Write(switching(header, key))
	conn.SetDeadline(time.Time{})
	if err != nil {
		conn.Close()
		c.abandon()
		return nil
	}
	if s, ok := conn.(syscall.Conn); ok { // not what TLS makes
		c.raw, _ = s.SyscallConn()
	}
	c.giveUpAfter(c.endpoint.limits.WriteTimeout)
	go c.serve(ahead, true) // ends with the connection
	return nil
}

// probed is how long TCP takes to find out that a peer is gone, with Go's settings.
const probed = 150 * time.Second

// stopProbes ends TCP's keep-alive, by default a packet every 15 seconds, where pings ask the client in any case and are not slower.
func (c *Conn) stopProbes(conn net.Conn) {
	tcp, ok := socketOf(conn).(interface{ SetKeepAlive(on bool) error })
	if l := c.endpoint.limits; ok && l.PingInterval+l.PongTimeout <= probed {
		_ = tcp.SetKeepAlive(false) // it goes on otherwise
	}
}

// abandon is the end of a connection whose client has gone during the handshake.
func (c *Conn) abandon() {
	c.mu.Lock()
	c.broken = true
	c.queue.clear()
	c.mu.Unlock()
	defer c.endpoint.hub.serving.Done()
	defer c.space().release(c)
	defer c.leave()
	c.endpoint.protocol.OnClose(c, CloseAbnormal, "")
}

// socketOf is what lies under TLS.
func socketOf(conn net.Conn) net.Conn {
	if secure, ok := conn.(*tls.Conn); ok {
		return secure.NetConn()
	}
	return conn
}

// takeAhead copies what was received behind the handshake.
func takeAhead(buffered *bufio.ReadWriter) []byte {
	if buffered == nil || buffered.Reader.Buffered() == 0 {
		return nil
	}
	b, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	return slices.Clone(b)
}

// acceptGUID is of RFC 6455, 1.3.
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// switching is the answer to a handshake of HTTP/1.1.
func switching(header http.Header, key string) []byte {
	sum := sha1.Sum([]byte(key + acceptGUID))
	out := []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
	out = append(base64.StdEncoding.AppendEncode(out, sum[:]), "\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(header)) {
		switch name {
		case "Upgrade", "Connection", "Sec-Websocket-Accept", "Content-Length", "Transfer-Encoding", "Content-Type":
			continue
		}
		for _, value := range header[name] {
			if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value) {
				out = append(append(append(append(out, name...), ": "...), value...), "\r\n"...)
			}
		}
	}
	return append(out, "\r\n"...)
}

// originPattern is one of the origins whose pages may connect.
type originPattern struct {
	any    bool
	scheme string // empty: any
	host   string // with the port if it is not the scheme's own
	below  bool   // host is a suffix, with its dot
}

func parseOrigin(text string) (originPattern, error) {
	if text == "*" {
		return originPattern{any: true}, nil
	}
	var p originPattern
	host := text
	if scheme, rest, ok := strings.Cut(text, "://"); ok {
		p.scheme, host = strings.ToLower(scheme), rest
	}
	if host, p.below = strings.CutPrefix(host, "*"); p.below && !strings.HasPrefix(host, ".") {
		host = ""
	}
	if host == "" || strings.ContainsAny(host, "/*@?# ") {
		return p, fmt.Errorf(`%q is no origin: write "https://example.com", "https://*.example.com" or "*"`, text)
	}
	p.host = strings.ToLower(host)
	return p, nil
}

// originAllowed looks at what browsers say about the page that connects. The same host is always right.
func (e *Endpoint) originAllowed(r *http.Request) bool {
	origins := r.Header["Origin"]
	switch {
	case len(origins) == 0:
		return true
	case slices.ContainsFunc(e.origins, func(p originPattern) bool { return p.any }):
		return true
	case len(origins) > 1:
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" {
		return false
	}
	scheme, host := strings.ToLower(u.Scheme), withoutPort(strings.ToLower(u.Host), u.Scheme)
	if host == withoutPort(strings.ToLower(r.Host), u.Scheme) {
		return true
	}
	return slices.ContainsFunc(e.origins, func(p originPattern) bool {
		if p.scheme != "" && p.scheme != scheme {
			return false
		}
		if p.below {
			return strings.HasSuffix(host, p.host)
		}
		return host == p.host
	})
}

// withoutPort takes away the port that the scheme implies.
func withoutPort(host, scheme string) string {
	switch strings.ToLower(scheme) {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	}
	return host
}
