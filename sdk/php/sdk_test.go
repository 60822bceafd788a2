// Package phpsdk_test runs the tests of the PHP package against the real server parts: phpunit with an RPC server behind it,
// and worker scripts as processes that are spoken to in frames.
package phpsdk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/frame"
	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// deadline bounds what a test waits for a PHP process.
const deadline = 60 * time.Second

func TestPHPUnit(t *testing.T) {
	t.Parallel()
	t.Run("unix", func(t *testing.T) {
		t.Parallel()
		phpunit(t, startRPC(t, testenv.Dir(t), "unix").Addr())
	})
	// What lies above the clients does not know how they connect, and the public suites sleep a lot.
	t.Run("tcp", func(t *testing.T) {
		t.Parallel()
		phpunit(t, startRPC(t, testenv.Dir(t), "tcp://127.0.0.1:0").Addr(), "--filter", "RPCTest|KVTest|KVOperationsTest")
	})
}

// phpunit runs the suites of the package, with the packages of the distribution that adapters are for. Symfony looks at keys in
// assertions, so these are on.
func phpunit(t *testing.T, address string, args ...string) {
	t.Helper()
	program := testenv.Tool(t, "phpunit", "apt-get install phpunit php-nyholm-psr7 php-psr-simple-cache php-cache-integration-tests "+
		"php-symfony-cache php-laravel-framework php-igbinary")
	ctx, cancel := context.WithTimeout(t.Context(), 3*deadline)
	defer cancel()
	args = append([]string{"-d", "zend.assertions=1", program, "--fail-on-skipped", "--fail-on-incomplete"}, args...)
	cmd := exec.CommandContext(ctx, testenv.PHP(t), args...)
	cmd.Env = append(os.Environ(), "EDGE_RPC="+address)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("phpunit: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("OK (")) {
		t.Errorf("phpunit says:\n%s", out)
	}
}

// TestClientSurvivesRestart: the server goes and comes back at the same address; the client goes on without an error.
func TestClientSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	server := startRPC(t, dir, "unix")
	cmd := exec.CommandContext(t.Context(), testenv.PHP(t), "tests/workers/rpc_restart.php")
	cmd.Env = append(os.Environ(), "EDGE_RPC=", "RR_RPC="+server.Addr())
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	call := func() string {
		t.Helper()
		_, err := io.WriteString(stdin, "go\n")
		check(t, err)
		var line []byte
		for b := make([]byte, 1); ; line = append(line, b[0]) {
			if _, err := io.ReadFull(stdout, b); err != nil || b[0] == '\n' {
				check(t, err)
				return string(line)
			}
		}
	}

	for range 2 {
		if got := call(); got != "value" {
			t.Errorf("with the server up: %q", got)
		}
	}
	stop(t, server)
	if got := call(); got != `Edge\Exception\ConnectionException` {
		t.Errorf("with the server down: %q", got)
	}
	server = startRPC(t, dir, "unix")
	if got := call(); got != "value" {
		t.Errorf("with the server back: %q", got)
	}
	stop(t, server)
	startRPC(t, dir, "unix")
	if got := call(); got != "value" {
		t.Errorf("after a restart between two calls: %q", got)
	}
	check(t, stdin.Close())
	check(t, cmd.Wait())
}

// TestWorker is a worker's life over pipes.
func TestWorker(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "tests/workers/app.php")

	w.request("GET", "/hello", "")
	w.want(200, "Hello, world")
	w.request("POST", "/echo?q=1", "a body")
	if head := w.want(200, "a body"); head["X-Method"] != "POST" || head["X-Query"] != "1" {
		t.Errorf("headers %v", head)
	}
	large := strings.Repeat("0123456789abcdef", 1<<18)
	w.request("POST", "/echo", large)
	w.want(200, large)

	// Two requests in the pipe at once.
	w.request("GET", "/hello", "")
	w.request("POST", "/echo", "second")
	w.want(200, "Hello, world")
	w.want(200, "second")

	w.request("GET", "/error", "")
	w.wantError("DomainException: the application broke")
	w.request("GET", "/noise", "")
	w.want(200, "quiet")
	w.request("GET", "/twice", "")
	w.want(200, "first")
	w.request("GET", "/hello", "")
	w.want(200, "Hello, world")

	w.stop()
	if err := w.wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	for _, want := range []string{
		"printed before the loop", "printed by the application", "[and] => dumped", "a warning of the application", "left in a buffer", "the loop ended",
		"what went wrong after the response", "it was answered already",
	} {
		if !strings.Contains(w.stderr.String(), want) {
			t.Errorf("standard error lacks %q:\n%s", want, &w.stderr)
		}
	}
}

func TestWorkerStreams(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "tests/workers/app.php")
	w.request("GET", "/stream", "")
	body, frames := "", 0
	for more := true; more; frames++ {
		h, head, piece := w.next()
		if h.Has(frame.StreamPing) {
			w.send(frame.AppendFrame(nil, 0, frame.StreamPong, nil))
		}
		if (frames == 0) != (len(head) > 0) {
			t.Errorf("frame %d has a head of %d bytes", frames, len(head))
		}
		body += piece
		more = h.Has(frame.StreamMore)
	}
	if frames != 21 || !strings.HasPrefix(body, "piece 0\npiece 1\n") || !strings.HasSuffix(body, "piece 19\n") {
		t.Errorf("%d frames with %q", frames, body)
	}

	// The client leaves: the worker ends the stream by an empty frame.
	w.request("GET", "/endless", "")
	w.next()
	w.send(frame.AppendFrame(nil, 0, frame.StreamStop, nil))
	for {
		h, head, piece := w.next()
		if !h.Has(frame.StreamMore) {
			if h.Flags != 0 || len(head)+len(piece) != 0 {
				t.Errorf("the last frame has flags %#x and %q", h.Flags, piece)
			}
			break
		}
	}

	// A stream that breaks after its head ends with an error.
	w.request("GET", "/half", "")
	if h, _, piece := w.next(); !h.Has(frame.StreamMore) || piece != "half" {
		t.Errorf("first piece %q, stream bits %#x", piece, h.Stream)
	}
	w.wantError("DomainException: the stream broke")

	w.request("GET", "/hints", "")
	if h, head, _ := w.next(); !h.Has(frame.StreamMore) || head != "\x08\x67"+entry("Link", "</a.css>; rel=preload") {
		t.Errorf("early hints %q, stream bits %#x", head, h.Stream)
	}
	w.want(200, "")

	w.stop()
	if err := w.wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	if !strings.Contains(w.stderr.String(), "the generator was closed") {
		t.Errorf("standard error:\n%s", &w.stderr)
	}
}

// TestWorkerOverSocket: the same worker on a relay that the server listens on.
func TestWorkerOverSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(testenv.Dir(t), "relay.sock")
	for _, address := range []string{"unix://" + path, "tcp://127.0.0.1:0"} {
		network, target, _ := strings.Cut(address, "://")
		listener, err := net.Listen(network, target)
		check(t, err)
		t.Cleanup(func() { listener.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		t.Cleanup(cancel)
		w := &worker{t: t, cmd: exec.CommandContext(ctx, testenv.PHP(t), "tests/workers/app.php")}
		w.cmd.Env = append(os.Environ(), "RR_RELAY="+network+"://"+listener.Addr().String())
		check(t, w.cmd.Start())
		conn, err := listener.Accept()
		check(t, err)
		t.Cleanup(func() { conn.Close() })
		w.stdin, w.frames = conn, frame.NewReader(conn, 1<<20)
		w.greet()
		w.request("GET", "/hello", "")
		w.want(200, "Hello, world")
		w.stop()
		check(t, w.wait())
	}
}

// TestWorkerReadsBodyFile in pieces: its memory does not grow with the body.
func TestWorkerReadsBodyFile(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "tests/workers/app.php")
	if !slices.Contains(w.features, "body-file") {
		t.Fatalf("the worker announces %v", w.features)
	}
	content := bytes.Repeat([]byte("0123456789abcdef"), 2<<20)
	path := filepath.Join(testenv.Dir(t), "body")
	check(t, os.WriteFile(path, content, 0o600))

	w.send(requestFrame("POST", "/file", "", "edge.body_file", path))
	_, _, body := w.next()
	var got struct {
		SHA256 string
		Peak   int
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	sum := sha256.Sum256(content)
	if got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("hash %s, want %x", got.SHA256, sum)
	}
	if got.Peak > 8<<20 {
		t.Errorf("PHP used %d bytes for a body of %d", got.Peak, len(content))
	}
	w.stop()
	check(t, w.wait())
}

// TestWorkerSaysWhyItEnded when it ends in the middle of a request.
func TestWorkerSaysWhyItEnded(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/exit":  "the application called exit or die",
		"/fatal": "Allowed memory size",
	} {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			w := startWorker(t, "tests/workers/app.php")
			w.request("GET", path, "")
			if _, _, err := w.frames.Next(); err != io.EOF {
				t.Errorf("the worker wrote something: %v", err)
			}
			if w.wait() == nil {
				t.Error("exit code 0")
			}
			if got := w.stderr.String(); !strings.Contains(got, "edge: the worker ended in the middle of a request: "+want) {
				t.Errorf("standard error:\n%s", got)
			}
		})
	}
}

func TestPSR7Worker(t *testing.T) {
	t.Parallel()
	w := startWorker(t, "tests/workers/psr7.php")
	w.send(requestFrame("PUT", "/a?b=c", "body", "user", "ada"))
	if head := w.want(200, "PUT http://localhost/a?b=c body"); head["X-User"] != "ada" {
		t.Errorf("headers %v", head)
	}

	// A body of two megabytes comes in pieces.
	w.request("GET", "/large", "")
	var body strings.Builder
	for pieces := 0; ; pieces++ {
		h, _, piece := w.next()
		body.WriteString(piece)
		if h.Has(frame.StreamPing) {
			w.send(frame.AppendFrame(nil, 0, frame.StreamPong, nil))
		}
		if !h.Has(frame.StreamMore) {
			if pieces < 2 {
				t.Errorf("%d pieces", pieces)
			}
			break
		}
	}
	if got := body.String(); got != strings.Repeat("0123456789abcdef", 128<<10) {
		t.Errorf("%d bytes came", len(got))
	}
	w.stop()
	check(t, w.wait())
}

// BenchmarkHello is the round trip of a request through the pipes of a worker.
func BenchmarkHello(b *testing.B) {
	w := startWorker(b, "tests/workers/app.php")
	request := requestFrame("GET", "/hello", "")
	for b.Loop() {
		w.send(request)
		if _, _, err := w.frames.Next(); err != nil {
			b.Fatal(err)
		}
	}
	w.stop()
	check(b, w.wait())
}
