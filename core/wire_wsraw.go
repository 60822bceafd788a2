package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/edge-server/edge/php"
	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/raw"
)

// validateRaw checks ws.raw with what it names.
func (c *Config) validateRaw() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.WS.Raw)) {
		app := c.WS.Raw[name]
		key := "ws.raw." + name
		errs = append(errs, within(key, app.Validate()))
		if _, known := c.PHP[app.PHP]; app.PHP != "" && !known {
			errs = append(errs, fmt.Errorf("%s.php: there is no pool %q in the php section, which has %s", key, app.PHP, countNames(slices.Sorted(maps.Keys(c.PHP)))))
		}
		if app.PHP != "" && c.PHP[app.PHP].Mode == "classic" {
			errs = append(errs, fmt.Errorf("%s.php: the pool %q is in mode classic, whose scripts end with each request: use one in mode worker", key, app.PHP))
		}
		if app.Wasm != "" && c.Plugins == nil {
			errs = append(errs, fmt.Errorf("%s.wasm: plugin %q needs a plugins section", key, app.Wasm))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) hasRaw(name string) bool {
	if c.WS == nil {
		return false
	}
	_, ok := c.WS.Raw[name]
	return ok
}

// newRawApp makes an application of ws.raw.
func (e *Edge) newRawApp(cfg *Config, name string) (*raw.App, error) {
	c := cfg.WS.Raw[name]
	app, err := raw.New(name, c, raw.Options{Hub: e.hub, Backend: e.rawBackend(c), Limits: cfg.WS.Limits, Logger: e.channel("ws")})
	if err != nil {
		return nil, within("ws.raw."+name, err)
	}
	return app, nil
}

func (e *Edge) rawBackend(c raw.Config) raw.Backend {
	if c.Wasm != "" {
		return &wasmBackend{edge: e, plugin: c.Wasm}
	}
	return &phpBackend{edge: e, pool: c.PHP}
}

// checkRawPlugins looks whether the plugins of ws.raw are there and have what it takes, also of applications that no route leads to.
func (w *world) checkRawPlugins() error {
	if w.cfg.WS == nil {
		return nil
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(w.cfg.WS.Raw)) {
		errs = append(errs, within("ws.raw."+name+".wasm", w.checkRawPlugin(w.cfg.WS.Raw[name].Wasm)))
	}
	return w.cfg.located(errors.Join(errs...))
}

func (w *world) checkRawPlugin(name string) error {
	if name == "" {
		return nil
	}
	p, ok := w.plugins.Plugin(name)
	if !ok {
		return fmt.Errorf("there is no plugin %q", name)
	}
	return needKind(p, wasmhost.KindWS, "an application of ws.raw")
}

// rawTarget is where a route's ws leads. `edge check` has no applications, only their configuration.
func (e *Edge) rawTarget(w *world, name string) (http.Handler, error) {
	if err := w.checkRawPlugin(w.cfg.WS.Raw[name].Wasm); err != nil {
		return nil, fmt.Errorf("ws: the application %q: %w", name, err)
	}
	if app := w.raw[name]; app != nil {
		return app, nil
	}
	return http.NotFoundHandler(), nil
}

// phpBackend makes requests of events: connect is the client's own, message a POST to the same URL with the message as its body, disconnect
// a DELETE. The attributes ws, ws_connection, … tell PHP what it is, and no client can set those. Which pool that is in the end is looked up each
// time: reloads replace them, connections stay.
type phpBackend struct {
	edge *Edge
	pool string

	complaints ws.Seldom
}

// phpConn is what is remembered of a handshake.
type phpConn struct {
	url  *url.URL
	host string
	addr string
}

func (b *phpBackend) Connect(r *http.Request, c *ws.Conn) error {
	u := *r.URL
	if r.TLS != nil { // later events have no connection to tell by that it was https
		u.Scheme, u.Host = "https", r.Host
	}
	c.Data = &phpConn{&u, r.Host, netip.AddrPortFrom(c.Remote(), 0).String()}
	r = withConn(r, c, "ws", "connect")
	a := newPHPAnswer()
	defer a.free()
	if err := b.ask(a, r); err != nil {
		return err
	}
	if a.status >= 300 {
		header := http.Header{}
		for name, values := range a.header {
			if name != "Content-Length" {
				header[name] = slices.Clone(values)
			}
		}
		return &ws.Refusal{Status: a.status, Header: header, Text: string(a.body), Whole: true}
	}
	if user := a.header.Get("X-Ws-User"); user != "" {
		c.SetUser(user)
	}
	b.complain("X-Ws-Set", a, a.setAttributes(c))
	if name := a.header.Get("Sec-Websocket-Protocol"); name != "" {
		c.SetSubprotocol(name)
	}
	if len(a.body) > 0 {
		return c.Send(a.message()) // goes out when the connection is there
	}
	return nil
}

var (
	textEvent   = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	binaryEvent = http.Header{"Content-Type": {"application/octet-stream"}}
)

func (b *phpBackend) Message(ctx context.Context, c *ws.Conn, kind ws.Kind, message []byte) error {
	header := textEvent
	if kind == ws.Binary {
		header = binaryEvent
	}
	r := b.request(ctx, c, http.MethodPost, header)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(message)), int64(len(message))
	r = withConn(r, c, "ws", "message", "ws_kind", kind.String())
	a := newPHPAnswer()
	defer a.free()
	if err := b.ask(a, r); err != nil {
		return err
	}
	b.complain("X-Ws-Set", a, a.setAttributes(c))
	code, reason, closes := a.closing()
	if closes && code == ws.CloseInternal {
		b.complain("X-Ws-Close", a, a.closeProblem())
	}
	switch {
	case len(a.body) == 0:
	case closes: // the two leave together
		_ = c.Send(a.message())
	default:
		_ = c.Reply(a.message())
	}
	if closes {
		c.Close(code, reason)
	}
	return nil
}

func (b *phpBackend) Disconnect(ctx context.Context, c *ws.Conn, code ws.CloseCode, reason string) error {
	r := b.request(ctx, c, http.MethodDelete, textEvent)
	r = withConn(r, c, "ws", "disconnect", "ws_code", strconv.Itoa(int(code)), "ws_reason", strings.ToValidUTF8(reason, "\uFFFD"))
	a := newPHPAnswer()
	defer a.free()
	return b.ask(a, r)
}

func (b *phpBackend) request(ctx context.Context, c *ws.Conn, method string, header http.Header) *http.Request {
	conn := c.Data.(*phpConn)
	r := &http.Request{
		Method: method, URL: conn.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: http.NoBody,
		Host: conn.host, RemoteAddr: conn.addr, RequestURI: conn.url.RequestURI(),
	}
	if ctx == context.Background() {
		return r // it has that: a copy less
	}
	return r.WithContext(ctx)
}

// withConn tells PHP which event this is, whose the connection is, and what was kept with it.
func withConn(r *http.Request, c *ws.Conn, pairs ...string) *http.Request {
	pairs = append(pairs, "ws_connection", c.ID().String())
	if user := c.User(); user != "" {
		pairs = append(pairs, "ws_user", strings.ToValidUTF8(user, "\uFFFD"))
	}
	for name, value := range c.Attributes() {
		pairs = append(pairs, attributePrefix+strings.ToValidUTF8(name, "\uFFFD"), value)
	}
	return php.WithAttributes(r, pairs...)
}

// attributePrefix is before the names of a connection's own attributes, among those of its events.
const attributePrefix = "ws:"

// ask lets the pool answer. The world that it belongs to does not end meanwhile.
func (b *phpBackend) ask(a *phpAnswer, r *http.Request) error {
	t := b.edge.acquireTable()
	defer t.release()
	pool := t.world.pools[b.pool]
	if pool == nil {
		return fmt.Errorf("there is no pool %q any more", b.pool)
	}
	pool.ServeHTTP(a, r)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.status >= http.StatusInternalServerError && r.Method != http.MethodGet {
		return fmt.Errorf("the pool %q answered with %d", b.pool, a.status)
	}
	return nil
}

// phpAnswer collects an answer of PHP.
type phpAnswer struct {
	status int
	header http.Header
	body   []byte
}

// maxPHPAnswer is how much of an answer is taken as a message.
const maxPHPAnswer = 16 << 20

var phpAnswers = sync.Pool{New: func() any { return &phpAnswer{header: http.Header{}} }}

func newPHPAnswer() *phpAnswer { return phpAnswers.Get().(*phpAnswer) }

func (a *phpAnswer) free() {
	if cap(a.body) > 64<<10 {
		return
	}
	clear(a.header)
	a.status, a.body = 0, a.body[:0]
	phpAnswers.Put(a)
}

func (a *phpAnswer) Header() http.Header { return a.header }

func (a *phpAnswer) WriteHeader(status int) {
	if status >= 200 && a.status == 0 {
		a.status = status
	}
}

func (a *phpAnswer) Write(p []byte) (int, error) {
	if len(a.body)+len(p) > maxPHPAnswer {
		return 0, errors.New("the answer is too large for a message")
	}
	a.body = append(a.body, p...)
	return len(p), nil
}

func (a *phpAnswer) message() *ws.Prepared {
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/octet-stream") || !utf8.Valid(a.body) {
		return ws.Prepare(ws.Binary, a.body)
	}
	return ws.Prepare(ws.Text, a.body)
}

// closing reads the header by which PHP ends the connection: "4000 reason".
func (a *phpAnswer) closing() (ws.CloseCode, string, bool) {
	text := a.header.Get("X-Ws-Close")
	if text == "" {
		return 0, "", false
	}
	number, reason, _ := strings.Cut(text, " ")
	code, err := strconv.Atoi(number)
	if err != nil || !sendableCode(code) {
		return ws.CloseInternal, "the application closes with a code that cannot be sent", true
	}
	return ws.CloseCode(code), strings.ToValidUTF8(reason, "\uFFFD"), true
}

// closeProblem is what is wrong with the code that closing has read; empty for nothing.
func (a *phpAnswer) closeProblem() string {
	number, _, _ := strings.Cut(a.header.Get("X-Ws-Close"), " ")
	if code, err := strconv.Atoi(number); err == nil && sendableCode(code) {
		return ""
	}
	return fmt.Sprintf("the connection is closed with 1011 instead of %.20q: the code %s", number, sendableCodes)
}

// setAttributes keeps with the connection what X-Ws-Set says, in the form of a query: name=value&other=value. An empty value takes one away.
// It returns why something was not kept.
func (a *phpAnswer) setAttributes(c *ws.Conn) (problem string) {
	text := a.header.Get("X-Ws-Set")
	switch {
	case text == "":
		return ""
	case len(text) > raw.MaxAttribute:
		return fmt.Sprintf("nothing of it is kept: it has %d bytes, and may have %d", len(text), raw.MaxAttribute)
	}
	values, err := url.ParseQuery(text) // what can be read of it
	if err != nil {
		problem = "not all of it is kept: " + err.Error()
	}
	for name, list := range values {
		if list[len(list)-1] == "" { // what goes makes room for what comes
			c.Set(name, "")
			delete(values, name)
		}
	}
	for name, list := range values {
		switch {
		case name == "" || len(name) > raw.MaxChannel:
			problem = fmt.Sprintf("not all of it is kept: names have 1 to %d bytes", raw.MaxChannel)
		case c.Get(name) == "" && len(c.Attributes()) >= raw.MaxAttributes:
			problem = fmt.Sprintf("not all of it is kept: a connection has at most %d attributes", raw.MaxAttributes)
		default:
			c.Set(name, strings.ToValidUTF8(list[len(list)-1], "\uFFFD"))
		}
	}
	return problem
}

// complain logs that a header of an answer cannot be used, which nobody else would hear of. A mistake comes with each message.
func (b *phpBackend) complain(header string, a *phpAnswer, problem string) {
	if problem == "" || !b.complaints.Now() {
		return
	}
	b.edge.channel("ws").Warn("a WebSocket application has answered with a header that cannot be used", "pool", b.pool,
		"header", header, "problem", problem)
}

// wasmBackend hands events to a plugin.
type wasmBackend struct {
	edge   *Edge
	plugin string
}

// use runs f with the plugin as it is now.
func (b *wasmBackend) use(f func(*wasmhost.Plugin) error) error {
	t := b.edge.acquireTable()
	defer t.release()
	plugin, ok := t.world.plugins.Plugin(b.plugin)
	if !ok {
		return fmt.Errorf("there is no plugin %q", b.plugin)
	}
	return f(plugin)
}

func (b *wasmBackend) Connect(r *http.Request, c *ws.Conn) error {
	return b.use(func(p *wasmhost.Plugin) error {
		a := newPHPAnswer()
		defer a.free()
		status, err := p.WSOpen(a, r, int64(c.ID()))
		switch {
		case errors.Is(err, wasmhost.ErrUnavailable):
			return &ws.Refusal{Status: http.StatusServiceUnavailable, Text: "503 service unavailable", Header: http.Header{"Retry-After": {"1"}}}
		case err != nil:
			return reported(err)
		case status == 0:
			return nil
		}
		return &ws.Refusal{Status: status, Text: strconv.Itoa(status) + " " + strings.ToLower(http.StatusText(status))}
	})
}

func (b *wasmBackend) Message(ctx context.Context, c *ws.Conn, kind ws.Kind, message []byte) error {
	return b.use(func(p *wasmhost.Plugin) error {
		code, err := p.WSMessage(ctx, int64(c.ID()), uint32(kind), message)
		switch {
		case code != 0:
			c.Close(closeCode(code), "")
		case errors.Is(err, wasmhost.ErrMessageTooLarge): // it would not fit the next time either
			c.Close(ws.CloseTooBig, "the message is too big")
		}
		return reported(err)
	})
}

func (b *wasmBackend) Disconnect(ctx context.Context, c *ws.Conn, code ws.CloseCode, _ string) error {
	return b.use(func(p *wasmhost.Plugin) error { return reported(p.WSClose(ctx, int64(c.ID()), int(code))) })
}

// reported marks an error that the host of plugins has logged.
func reported(err error) error {
	if err == nil {
		return nil
	}
	return raw.Reported{Cause: err}
}

// pluginHub is what plugins reach connections by: those of the applications that name them.
type pluginHub struct{ edge *Edge }

// pluginHub is nil without WebSockets, which the host then tells plugins.
func (e *Edge) pluginHub(cfg *Config) wasmhost.Hub {
	if cfg.WS == nil {
		return nil
	}
	return pluginHub{e}
}

func (h pluginHub) conn(plugin string, id int64) (*ws.Conn, error) {
	w := h.edge.world.Load()
	for name, app := range w.raw {
		if w.cfg.WS.Raw[name].Wasm != plugin {
			continue
		}
		if c := app.Space().Find(ws.ConnID(id)); c != nil {
			return c, nil
		}
	}
	return nil, abi.ErrNotFound
}

func (h pluginHub) Send(plugin string, conn int64, kind uint32, message []byte) error {
	c, err := h.conn(plugin, conn)
	if err != nil {
		return err
	}
	if c.Send(ws.Prepare(ws.Kind(kind), message)) != nil {
		return abi.ErrNotFound
	}
	return nil
}

func (h pluginHub) Publish(topic string, kind uint32, message []byte) error {
	m := ws.Prepare(ws.Kind(kind), message)
	var errs []error
	for _, app := range h.edge.world.Load().raw {
		_, err := app.Space().Publish(context.Background(), topic, m, ws.PublishOptions{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (h pluginHub) Subscribe(plugin string, conn int64, topic string) error {
	c, err := h.conn(plugin, conn)
	if err == nil {
		_, err = c.Space().Subscribe(context.Background(), c, topic, ws.SubscribeOptions{})
	}
	return err
}

func (h pluginHub) Unsubscribe(plugin string, conn int64, topic string) error {
	c, err := h.conn(plugin, conn)
	if err == nil {
		_, err = c.Space().Unsubscribe(context.Background(), c, topic, ws.UnsubscribeOptions{})
	}
	return err
}

func (h pluginHub) Close(plugin string, conn int64, code uint32, reason string) error {
	c, err := h.conn(plugin, conn)
	if err == nil {
		c.Close(closeCode(int(code)), reason)
	}
	return err
}

func (h pluginHub) User(plugin string, conn int64) (string, error) {
	c, err := h.conn(plugin, conn)
	if err != nil {
		return "", err
	}
	return c.User(), nil
}

func (h pluginHub) SetUser(plugin string, conn int64, user string) error {
	c, err := h.conn(plugin, conn)
	if err == nil && !c.SetUser(user) {
		err = abi.ErrLimit
	}
	return err
}

func (h pluginHub) Get(plugin string, conn int64, name string) (string, error) {
	c, err := h.conn(plugin, conn)
	if err != nil {
		return "", err
	}
	return c.Get(name), nil
}

func (h pluginHub) Set(plugin string, conn int64, name, value string) error {
	c, err := h.conn(plugin, conn)
	if err != nil {
		return err
	}
	if value != "" && c.Get(name) == "" && len(c.Attributes()) >= raw.MaxAttributes {
		return abi.ErrLimit
	}
	c.Set(name, value)
	return nil
}

// closeCode is a plugin's code if clients may see it.
func closeCode(code int) ws.CloseCode {
	if !sendableCode(code) {
		return ws.CloseInternal
	}
	return ws.CloseCode(code)
}

var _ wasmhost.Hub = pluginHub{}
