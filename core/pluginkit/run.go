package pluginkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/abi"
	"github.com/edge-server/edge/wasmhost"
)

// Trial is what a plugin is run with.
type Trial struct {
	Request string   // "GET /path", or a path; "" for none
	Headers []string // "Name: value"
	Body    string

	NextStatus int // of the rest of the chain
	NextBody   string

	Messages []string // of a WebSocket
	KV       []string // operations: "set KEY VALUE", "get KEY", "delete KEY", "incr KEY N"
	KVConfig string   // JSON, what edge.yaml has in kv.STORE.config; "" for nothing
	Tick     bool

	Quiet bool // no trace
	Start bool // the trace has the start, too
}

// errFailed: what happened is written above.
var errFailed = errors.New("the plugin failed, see above")

// Run takes a plugin through a trial and writes down what happens.
func Run(ctx context.Context, t Target, trial Trial, out io.Writer) error {
	if err := t.GrantWishes(ctx); err != nil {
		return err
	}
	w := newWorld(out)
	defer w.close(ctx)
	tracer := &tracer{out: out, quiet: trial.Quiet || !trial.Start}
	host, err := wasmhost.New(ctx, t.Config, wasmhost.Options{Logger: plainLogger(out), Services: w.services(), Trace: tracer.note})
	if err != nil {
		return err
	}
	defer func() { _ = host.Stop(ctx) }() // its requests are over
	p, _ := host.Plugin(t.Name)
	tracer.reset(trial.Quiet)
	if err := runAll(ctx, p, &trial, out); err != nil {
		return err
	}
	tracer.sum(p.Stats())
	if p.Stats().Traps > 0 {
		return errFailed
	}
	return nil
}

// runAll does what the trial asks for; one that asks for nothing is a request, if the plugin takes some.
func runAll(ctx context.Context, p *wasmhost.Plugin, trial *Trial, out io.Writer) error {
	kinds := p.Kinds()
	asksNothing := trial.Request == "" && len(trial.Messages) == 0 && len(trial.KV) == 0 && !trial.Tick
	takesRequests := kinds&(wasmhost.KindMiddleware|wasmhost.KindRouter) != 0
	if asksNothing && !takesRequests {
		return fmt.Errorf("%s is %s: run it with --tick, --message TEXT or --kv 'get KEY'", p.Name(), kinds)
	}
	if trial.Request != "" || asksNothing {
		if !takesRequests {
			return fmt.Errorf("%s is %s and takes no requests", p.Name(), kinds)
		}
		if err := runRequest(ctx, p, trial, out); err != nil {
			return err
		}
	}
	for _, do := range []struct {
		asked bool
		kind  wasmhost.Kind
		run   func(context.Context, *wasmhost.Plugin, *Trial, io.Writer) error
	}{
		{trial.Tick, wasmhost.KindCron, runTick},
		{len(trial.Messages) > 0, wasmhost.KindWS, runMessages},
		{len(trial.KV) > 0, wasmhost.KindKV, runKV},
	} {
		if !do.asked {
			continue
		}
		if !kinds.Has(do.kind) {
			return fmt.Errorf("%s is %s, and this needs a plugin that is %s", p.Name(), kinds, do.kind)
		}
		if err := do.run(ctx, p, trial, out); err != nil {
			return err
		}
	}
	return nil
}

func runTick(ctx context.Context, p *wasmhost.Plugin, _ *Trial, _ io.Writer) error {
	return p.Tick(ctx)
}

// request is the request of the trial.
func (t *Trial) request(ctx context.Context) (*http.Request, error) {
	method, target, both := strings.Cut(strings.TrimSpace(t.Request), " ")
	switch {
	case !both && method == "":
		method, target = http.MethodGet, "/"
	case !both:
		method, target = http.MethodGet, method
		if t.Body != "" {
			method = http.MethodPost
		}
	}
	if !strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("--request %q: write METHOD and a path, such as 'GET /hello?a=1'", t.Request)
	}
	if _, err := url.ParseRequestURI(target); err != nil {
		return nil, fmt.Errorf("--request %q: %w", t.Request, err)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://example.com"+target, strings.NewReader(t.Body))
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.RemoteAddr = target, "192.0.2.1:1234"
	for _, line := range t.Headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("-H %q: write 'Name: value'", line)
		}
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	return r, nil
}

func runRequest(ctx context.Context, p *wasmhost.Plugin, trial *Trial, out io.Writer) error {
	r, err := trial.request(ctx)
	if err != nil {
		return err
	}
	answer := newAnswer()
	if p.Kinds().Has(wasmhost.KindRouter) {
		decision, err := p.Decide(answer, r)
		if err != nil {
			answer.print(out)
			return nil // counted as a trap
		}
		fmt.Fprintf(out, "the router: %s\n", decided(decision))
		r = decision.Apply(r)
		if decision.Decided() || !p.Kinds().Has(wasmhost.KindMiddleware) {
			return nil
		}
	}
	serve(p, trial, answer, r, out)
	answer.print(out)
	return nil
}

// serve takes the request through the middleware; a broken answer ends as it would for a client.
func serve(p *wasmhost.Plugin, trial *Trial, answer *answer, r *http.Request, out io.Writer) {
	defer func() {
		if reason := recover(); reason != nil {
			fmt.Fprintln(out, "the answer breaks off here: the connection to the client would be closed")
		}
	}()
	sent := r.Header.Clone()
	p.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		fmt.Fprintf(out, "the rest of the chain gets %s %s", r.Method, r.URL.RequestURI())
		if len(body) > 0 || err != nil {
			fmt.Fprintf(out, " with %d bytes", len(body))
		}
		for _, change := range changes(sent, r.Header) {
			fmt.Fprintf(out, ", %s", change)
		}
		fmt.Fprintln(out)
		if trial.NextBody != "" {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		w.WriteHeader(trial.NextStatus)
		_, _ = io.WriteString(w, trial.NextBody) // into memory
	})).ServeHTTP(answer, r)
}

// changes are the headers that differ.
func changes(before, after http.Header) []string {
	var list []string
	for name, values := range after {
		if !slices.Equal(before[name], values) {
			list = append(list, fmt.Sprintf("%s: %s", name, strings.Join(values, ", ")))
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			list = append(list, "without "+name)
		}
	}
	slices.Sort(list)
	return list
}

// decided says what a router said.
func decided(d *wasmhost.Decision) string {
	var parts []string
	if d.URI != "" {
		parts = append(parts, "rewrites to "+d.URI)
	}
	switch {
	case d.Route != "":
		parts = append(parts, "to the route "+d.Route)
	case d.Pool != "":
		parts = append(parts, "to the PHP pool "+d.Pool)
	case d.Redirect != "":
		parts = append(parts, fmt.Sprintf("redirects with %d to %s", d.Status, d.Redirect))
	case d.Status != 0:
		parts = append(parts, fmt.Sprintf("answers %d", d.Status))
	default:
		parts = append(parts, "the routes of edge.yaml decide")
	}
	return strings.Join(parts, ", ")
}

func runMessages(ctx context.Context, p *wasmhost.Plugin, trial *Trial, out io.Writer) error {
	const conn = 1
	r, err := trial.request(ctx)
	if err != nil {
		return err
	}
	if status, err := p.WSOpen(newAnswer(), r, conn); err != nil || status != 0 {
		fmt.Fprintf(out, "the connection is refused with %d\n", status)
		return err
	}
	for _, message := range trial.Messages {
		code, err := p.WSMessage(ctx, conn, abi.WSText, []byte(message))
		if err != nil {
			return err
		}
		if code != 0 {
			fmt.Fprintf(out, "the plugin closes the connection with %d\n", code)
			return p.WSClose(ctx, conn, code)
		}
	}
	return p.WSClose(ctx, conn, 1000)
}

func runKV(ctx context.Context, p *wasmhost.Plugin, trial *Trial, out io.Writer) error {
	var config any
	if trial.KVConfig != "" {
		if err := json.Unmarshal([]byte(trial.KVConfig), &config); err != nil {
			return fmt.Errorf("--kv-config: %w: write JSON, such as '{\"max_size\": \"1MiB\"}'", err)
		}
	}
	d, err := p.OpenDriver(ctx, config)
	if err != nil {
		return err
	}
	for _, line := range trial.KV {
		words := strings.SplitN(line, " ", 3)
		result, err := kvOperation(ctx, d, words)
		if err != nil {
			result = "error: " + err.Error()
		}
		fmt.Fprintf(out, "%s = %s\n", line, result)
	}
	return d.Close(ctx)
}

func kvOperation(ctx context.Context, d *wasmhost.Driver, words []string) (string, error) {
	switch {
	case len(words) == 2 && words[0] == "get":
		e, err := d.Get(ctx, words[1])
		if err != nil || !e.Found {
			return "not found", err
		}
		return fmt.Sprintf("%q", e.Value), nil
	case len(words) == 3 && words[0] == "set":
		return "ok", d.Set(ctx, words[1], []byte(words[2]), wasmhost.SetOptions{})
	case len(words) == 2 && words[0] == "delete":
		return "ok", d.Delete(ctx, words[1], 0)
	case len(words) == 2 && words[0] == "incr":
		n, err := d.Incr(ctx, words[1], 1, 0)
		return fmt.Sprint(n), err
	}
	return "", errors.New("write 'get KEY', 'set KEY VALUE', 'delete KEY' or 'incr KEY'")
}

// tracer writes calls down as they happen, and adds up.
type tracer struct {
	out   io.Writer
	quiet bool
	depth int
	calls int
	fuel  int64
	took  time.Duration
}

func (t *tracer) reset(quiet bool) { *t = tracer{out: t.out, quiet: quiet} }

func (t *tracer) note(e wasmhost.TraceEvent) {
	indent := strings.Repeat("    ", t.depth)
	call := fmt.Sprintf("%s(%s)", e.Function, strings.Join(e.Args, ", "))
	switch {
	case e.Guest && e.Begins:
		t.line("%s%s", indent, call)
		t.depth++
		return
	case e.Guest:
		t.depth--
		t.fuel += e.Fuel
		t.took += e.Took
		end := strings.Repeat("    ", t.depth) + "= "
		switch {
		case e.Err != nil:
			end += "stopped: " + firstLine(e.Err.Error())
		case e.Result == "":
			end += "done"
		default:
			end += e.Result
		}
		t.line("%s   (%s, fuel %d)", end, round(e.Took), e.Fuel)
		return
	}
	t.calls++
	switch {
	case e.Err != nil:
		call += " stops the guest: " + firstLine(e.Err.Error())
	case e.Result != "":
		call += " = " + e.Result
	}
	t.line("%s%s   (%s)", indent, call, round(e.Took))
}

func (t *tracer) line(format string, args ...any) {
	if !t.quiet {
		fmt.Fprintf(t.out, format+"\n", args...)
	}
}

func (t *tracer) sum(s wasmhost.PluginStats) {
	fmt.Fprintf(t.out, "\nin the guest %s, fuel %d, host calls %d, memory %s\n", round(t.took), t.fuel, t.calls, Size(s.Memory))
}

func round(d time.Duration) time.Duration {
	if d > time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// answer keeps what a plugin answers.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

func (a *answer) Header() http.Header { return a.header }
func (a *answer) Flush()              {}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) print(out io.Writer) {
	a.WriteHeader(http.StatusOK)
	fmt.Fprintf(out, "\n%d %s\n", a.status, http.StatusText(a.status))
	_ = a.header.Write(out)
	fmt.Fprintln(out)
	if a.body.Len() > 0 {
		_, _ = out.Write(a.body.Bytes())
		if !bytes.HasSuffix(a.body.Bytes(), []byte("\n")) {
			fmt.Fprintln(out)
		}
	}
}

// plainLogger writes what the plugin and the host log, a line each.
func plainLogger(out io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(prefixed{out}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "plugin" {
			return slog.Attr{}
		}
		return a
	}}))
}

type prefixed struct{ out io.Writer }

func (p prefixed) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`msg="plugin loaded"`)) || bytes.Contains(line, []byte(`msg="old generation`)) {
		return len(line), nil // the life of a server, which this is not
	}
	if _, err := fmt.Fprintf(p.out, "log: %s", line); err != nil {
		return 0, err
	}
	return len(line), nil
}
