package phpsdk_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/rpc"
)

// worker is a PHP process that was greeted.
type worker struct {
	t        testing.TB
	cmd      *exec.Cmd
	stdin    io.WriteCloser
	frames   *frame.Reader
	stderr   bytes.Buffer
	features []string
}

func startWorker(t testing.TB, script string) *worker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	w := &worker{t: t, cmd: exec.CommandContext(ctx, testenv.PHP(t), "-d", "display_errors=1", script)}
	w.cmd.Env = append(os.Environ(), "RR_RELAY=pipes", "RR_MODE=http")
	w.cmd.Stderr = &w.stderr
	var err error
	w.stdin, err = w.cmd.StdinPipe()
	check(t, err)
	stdout, err := w.cmd.StdoutPipe()
	check(t, err)
	check(t, w.cmd.Start())
	// What was printed before the worker was made is on standard output and cannot be taken back.
	if strings.HasSuffix(script, "app.php") {
		before := make([]byte, len("printed before the worker\n"))
		_, err = io.ReadFull(stdout, before)
		check(t, err)
	}
	w.frames = frame.NewReader(stdout, 64<<20)
	w.greet()
	return w
}

// greet exchanges pids.
func (w *worker) greet() {
	t := w.t
	t.Helper()
	w.send(frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, fmt.Appendf(nil, `{"pid":%d}`, os.Getpid())))
	h, payload, err := w.frames.Next()
	check(t, err)
	var reply struct {
		PID  int
		Edge struct {
			V        int
			Features []string
		}
	}
	if err := json.Unmarshal(payload, &reply); err != nil || h.Flags != frame.FlagControl || reply.PID != w.cmd.Process.Pid || reply.Edge.V != 1 {
		t.Fatalf("the worker %d answers the greeting with flags %#x and %s", w.cmd.Process.Pid, h.Flags, payload)
	}
	w.features = reply.Edge.Features
}

func (w *worker) send(b []byte) {
	w.t.Helper()
	_, err := w.stdin.Write(b)
	check(w.t, err)
}

func (w *worker) request(method, uri, body string) {
	w.t.Helper()
	w.send(requestFrame(method, uri, body))
}

func (w *worker) stop() {
	w.t.Helper()
	w.send(frame.AppendFrame(nil, frame.FlagControl|frame.FlagJSON, 0, []byte(`{"stop":true}`)))
}

// next reads a frame with a context.
func (w *worker) next() (h frame.Header, head, body string) {
	w.t.Helper()
	h, payload, err := w.frames.Next()
	if err != nil || h.NumOpts != 1 || int(h.Option(0)) > len(payload) {
		w.t.Fatalf("frame %+v %q, %v\n%s", h, payload, err, &w.stderr)
	}
	return h, string(payload[:h.Option(0)]), string(payload[h.Option(0):])
}

// want reads a whole response and returns its headers.
func (w *worker) want(status int, body string) map[string]string {
	w.t.Helper()
	h, head, got := w.next()
	if h.Flags != frame.FlagProto || h.Stream != 0 {
		w.t.Errorf("flags %#x, stream bits %#x", h.Flags, h.Stream)
	}
	gotStatus, headers := parseHead(w.t, head)
	if gotStatus != status || got != body {
		w.t.Errorf("response %d %.200q, want %d %.200q", gotStatus, got, status, body)
	}
	return headers
}

func (w *worker) wantError(text string) {
	w.t.Helper()
	h, payload, err := w.frames.Next()
	check(w.t, err)
	if h.Flags != frame.FlagError || !strings.Contains(string(payload), text) {
		w.t.Errorf("flags %#x, %q, want an error with %q", h.Flags, payload, text)
	}
}

// wait returns when the process has ended.
func (w *worker) wait() error {
	w.t.Helper()
	if _, _, err := w.frames.Next(); err != io.EOF {
		w.t.Errorf("after the end: %v", err)
	}
	return w.cmd.Wait()
}

// requestFrame packs a request; attributes are names and values in turn.
func requestFrame(method, uri, body string, attributes ...string) []byte {
	context := field(nil, 1, "127.0.0.1")
	context = field(context, 2, "HTTP/1.1")
	context = field(context, 3, method)
	context = field(context, 4, "http://localhost"+uri)
	if _, query, ok := strings.Cut(uri, "?"); ok {
		context = field(context, 7, query)
	}
	for i := 0; i < len(attributes); i += 2 {
		context = field(context, 10, entryOf(attributes[i], attributes[i+1]))
	}
	return frame.AppendFrame(nil, frame.FlagProto, 0, append(context, body...), uint32(len(context)))
}

// entry is a header of a response.
func entry(name, value string) string { return string(field(nil, 2, entryOf(name, value))) }

func entryOf(name, value string) string {
	return string(field(field(nil, 1, name), 2, string(field(nil, 1, value))))
}

func field(dst []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, number, protowire.BytesType), value)
}

// parseHead reads http.v1.Response with protobuf's own functions.
func parseHead(t testing.TB, head string) (status int, headers map[string]string) {
	t.Helper()
	headers = map[string]string{}
	for b := []byte(head); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("head %q", head)
		}
		b = b[n:]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			status, b = int(v), b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 || number != 2 {
			t.Fatalf("head %q", head)
		}
		b = b[n:]
		_, _, n = protowire.ConsumeTag(v)
		name, n2 := protowire.ConsumeString(v[n:])
		v = v[n+n2:]
		_, _, n = protowire.ConsumeTag(v)
		list, _ := protowire.ConsumeBytes(v[n:])
		_, _, n = protowire.ConsumeTag(list)
		headers[name], _ = protowire.ConsumeString(list[n:])
	}
	return status, headers
}

// startRPC runs a server with the storages main, cache and small in memory.
func startRPC(t testing.TB, dir, listen string) *rpc.Server {
	t.Helper()
	return startRPCOn(t, dir, listen, inMemory)
}

func startRPCOn(t testing.TB, dir, listen string, open opener) *rpc.Server {
	t.Helper()
	stores := map[string]kv.Store{}
	for _, name := range []string{"main", "cache", "small", "sessions"} {
		store := open(t, name)
		t.Cleanup(func() { check(t, store.Close(context.Background())) })
		stores[name] = store
	}
	cfg := rpc.DefaultConfig()
	cfg.Listen = listen
	server, err := rpc.New(cfg, rpc.Options{Logger: slog.New(slog.DiscardHandler), StateDir: dir, Version: "test"})
	check(t, err)
	server.Register("kv", kv.NewService(stores))
	check(t, server.Start(context.Background()))
	t.Cleanup(func() { stop(t, server) })
	return server
}

func stop(t testing.TB, server *rpc.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	check(t, server.Stop(ctx))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
