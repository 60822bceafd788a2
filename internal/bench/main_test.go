package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

func TestMain(m *testing.M) {
	// The bare Go target starts this program again, which here is the test's.
	if len(os.Args) == 4 && os.Args[1] == bareGoCommand {
		main()
		return
	}
	testenv.Main(m)
}

// The story: two real servers, real wrk, a report on stdout and nothing left behind.
func TestMeasuresThePeers(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "wrk", tools["wrk"].install)
	for _, key := range []string{"nginx", "php-fpm"} {
		if _, found := tools[key].find(); !found {
			testenv.Missing(t, key, tools[key].install)
		}
	}

	var report, progress bytes.Buffer
	args := []string{"-target", nginxFPM + "," + bareGo, "-scenario", "json,post-64k", "-runs", "1", "-duration", "1s", "-connections", "4"}
	if err := run(t.Context(), args, noEnvironment, &report, &progress); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	for _, want := range []string{"### json, 4 connections", "### post-64k, 4 connections", "| `nginx-fpm`: ", "| `bare-go`: ", "-connections 4 -threads",
		"php-fpm 8", "### Bars", "not measured"} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, &report)
		}
	}
}

func TestInterruptEndsTheRunAndItsServers(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "wrk", tools["wrk"].install)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	progress := writerFunc(func(line []byte) (int, error) {
		if bytes.Contains(line, []byte("req/s")) {
			cancel() // one run is done, the next one begins
		}
		return len(line), nil
	})
	var report bytes.Buffer
	err := run(ctx, []string{"-target", bareGo, "-scenario", "hello", "-runs", "50", "-duration", "1s"}, noEnvironment, &report, progress)
	if err == nil || err.Error() != "interrupted; no results" {
		t.Errorf("got error %v, want exactly the interruption", err)
	}
	if report.Len() > 0 {
		t.Errorf("an interrupted run reported:\n%s", &report)
	}
}

func TestPHPAndGoAgree(t *testing.T) {
	t.Parallel()
	php := testenv.PHP(t)
	for _, s := range scenarios {
		if s.App != "" {
			continue
		}
		code := `[$type, $body] = (require $argv[1])(static fn (): string => file_get_contents('php://stdin')); echo $type, "\n", $body;`
		cmd := exec.Command(php, "-r", code, filepath.Join("php", "scenarios", s.Name+".php"))
		cmd.Stdin = bytes.NewReader(s.Post)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", s.Name, err, out)
		}
		contentType, body := s.Answer(s.Post)
		if want := contentType + "\n" + string(body); string(out) != want {
			t.Errorf("%s: PHP says %q, Go says %q", s.Name, out, want)
		}
	}
	if _, body := catalogue(nil); len(body) != 1024 {
		t.Errorf("the 1 KiB of json are %d bytes", len(body))
	}
}

func TestCheckRefusesOtherAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string // in the error; "" when the answer is right
		final  bool
	}{
		"right":          {answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Proof", "yes"); writeHello(w) }},
		"no middleware":  {answer: func(w http.ResponseWriter, _ *http.Request) { writeHello(w) }, want: "the middleware did not run", final: true},
		"shorter":        {answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("Hello")) }, want: "the body is", final: true},
		"longer":         {answer: func(w http.ResponseWriter, _ *http.Request) { writeHello(w); writeHello(w) }, want: "the body is", final: true},
		"created":        {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated); writeHello(w) }, want: "status 201", final: true},
		"redirect":       {answer: http.RedirectHandler("/elsewhere", http.StatusFound).ServeHTTP, want: "status 302", final: true},
		"not up for now": {answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, want: "status 502"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(test.answer)
			defer web.Close()
			srv := &server{base: web.URL, proof: [2]string{"X-Proof", "yes"}}
			err := srv.check(t.Context(), scenarios[0])
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var wrong *wrongAnswer
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), test.want) || wrong.final != test.final {
				t.Errorf("got %#v, want an error with %q, final %v", err, test.want, test.final)
			}
		})
	}
}

func TestStartSaysWhatTheProcessPrinted(t *testing.T) {
	t.Parallel()
	space := testWorkspace(t)
	srv := &server{target: target{Name: "broken", Launch: func(_ context.Context, space *workspace, srv *server) error {
		srv.base = "http://127.0.0.1:1"
		return srv.run(space, "server", "/bin/sh", "-c", "echo no such pool >&2; exit 3")
	}}}
	err := srv.start(t.Context(), space, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such pool") {
		t.Errorf("got %v, want the exit status and the output", err)
	}
	if err := srv.stop(); err != nil {
		t.Error(err)
	}
}

func TestStopNamesWhatStaysBehind(t *testing.T) {
	t.Parallel()
	space := testWorkspace(t)
	// The shell ends on SIGTERM, its child does not hear of it.
	p, err := startProcess(space, "careless", []string{"/bin/sh", "-c", "sleep 600 & wait"})
	if err != nil {
		t.Fatal(err)
	}
	var family []procStat
	testenv.Eventually(t, "the tree is the shell and its child", func() bool {
		family, err = processTree(p.pid())
		return err != nil || len(family) == 2 && slices.ContainsFunc(family, func(one procStat) bool { return one.comm == "sleep" })
	})
	if err != nil {
		t.Fatal(err)
	}
	err = p.stop()
	if err == nil || !strings.Contains(err.Error(), "(sleep) behind") {
		t.Errorf("got %v, want the child by its name", err)
	}
	testenv.Eventually(t, "all of the tree end", func() bool { return len(alive(family)) == 0 })
}

// A server by address is measured in what it serves and left out, aloud, of the rest.
func TestPeerServesWhatItHas(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { writeHello(w) })
	web := httptest.NewServer(mux)
	defer web.Close()
	peers, err := parsePeers("mine=" + web.URL)
	if err != nil {
		t.Fatal(err)
	}
	srv, progress := &server{target: peers[0].target()}, &bytes.Buffer{}
	if err := srv.start(t.Context(), testWorkspace(t), progress); err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		if s.App == "" && srv.serves(s) != (s.Name == "hello") {
			t.Errorf("serves %s: %v", s.Name, srv.serves(s))
		}
	}
	if want := "mine does not serve /json and is left out there\n"; !strings.Contains(progress.String(), want) {
		t.Errorf("progress %q lacks %q", progress, want)
	}
}

func TestMissingToolsAreNamedTogether(t *testing.T) {
	space := testWorkspace(t)
	t.Setenv("PATH", t.TempDir())
	absent := []target{{Name: "one", Tools: []string{"clang"}}, {Name: "two", Tools: []string{"clang", "wasm-ld"}}}
	err := space.findTools(absent, false, false, false, false)
	for _, want := range []string{"clang is missing, needed by [one two]: apt-get install clang lld", "wasm-ld is missing, needed by [two]", "wrk is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func testWorkspace(t *testing.T) *workspace {
	t.Helper()
	ours := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool { return s.App != "" })
	space, err := newWorkspace(ours)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := space.remove(); err != nil {
			t.Error(err)
		}
	})
	return space
}

func writeHello(w http.ResponseWriter) {
	_, body := hello(nil)
	_, _ = w.Write(body)
}

func noEnvironment(string) string { return "" }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
