package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/browser"
	"github.com/edge-server/edge/internal/testenv"
)

// TestUIInABrowser: `edge ui` beside `edge serve`, in Chromium, while requests come, a reload is applied, and the server ends.
func TestUIInABrowser(t *testing.T) {
	t.Parallel()
	p := startServer(t, "http: {routes: [{name: hello, respond: hello}]}\nkv: {cache: {driver: memory}}\nservices: {nap: {command: [sleep, \"1000\"], user: "+serviceUser()+"}}\n")
	ctx, stop := context.WithCancel(t.Context())
	said, stdout := io.Pipe()
	ended := make(chan int, 1)
	var problem testenv.Log
	go func() {
		ended <- run(ctx, []string{"ui", "--listen", "127.0.0.1:0", "-c", filepath.Join(p.dir, "edge.yaml")}, stdout, &problem)
		stdout.Close()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	go io.Copy(io.Discard, said) // ends with run
	link := strings.TrimPrefix(strings.TrimSpace(line), "Open ")
	if err != nil || !strings.HasPrefix(link, "http://127.0.0.1:") {
		t.Fatalf("edge ui said %q, %v, %s", line, err, problem.String())
	}
	tab := browser.Start(t).Open(t, link)
	tab.Eventually(t, `document.querySelector("#state").textContent === "ready"`)
	for range 5 {
		res, err := http.Get(p.url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	row := `[...document.querySelectorAll('[data-table="routes"] tbody tr')].find((row) => row.cells[0].textContent === "hello")`
	tab.Eventually(t, row+`.cells[6].textContent === "5"`)
	tab.Eventually(t, `document.querySelector('[data-table="stores"]').textContent.includes("cachememory")`)
	tab.Eventually(t, `document.querySelector('[data-table="services"] tbody').textContent.startsWith("nap1 / 1")`)
	tab.Eventually(t, `document.querySelectorAll("#charts polyline").length > 0 && document.querySelector('[data-chart="php"]').hidden`)

	drain := func(args ...string) {
		if code := run(t.Context(), append([]string{"drain", "-c", filepath.Join(p.dir, "edge.yaml")}, args...), io.Discard, &problem); code != 0 {
			t.Errorf("edge drain: %d %s", code, problem.String())
		}
	}
	drain()
	tab.Eventually(t, `document.querySelector("#state").textContent === "not ready" && document.querySelector("#degraded").textContent.includes("edge drain --undo")`)
	drain("--undo")
	tab.Eventually(t, `document.querySelector("#state").textContent === "ready" && document.querySelector("#degraded").hidden`)

	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	tab.Eventually(t, `document.querySelector("#state").textContent === "lost" && document.querySelector("#problem").textContent.includes("no Edge answers at")`)
	stop()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("edge ui ended with %d: %s", code, problem.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("edge ui does not end")
	}
}

// TestUIRefuses: an address that others reach, one that is taken, a server that is not there.
func TestUIRefuses(t *testing.T) {
	t.Parallel()
	p := startServer(t, "http: {routes: [{respond: hello}]}\n")
	config := filepath.Join(p.dir, "edge.yaml")
	nobody := filepath.Join(testenv.Dir(t), "edge.yaml")
	writeFile(t, nobody, "version: 1\nhttp: {routes: [{respond: hello}]}\n")
	taken := strings.TrimPrefix(p.url, "http://")
	for want, args := range map[string][]string{
		"must be a loopback address":  {"--listen", "0.0.0.0:0", "-c", config},
		"takes any free port":         {"--listen", strings.TrimSuffix(taken, "/"), "-c", config},
		"no Edge answers at":          {"--listen", "127.0.0.1:0", "-c", nobody},
		"there is no /no/such/a.yaml": {"-c", "/no/such/a.yaml"},
	} {
		var problem strings.Builder
		if code := run(t.Context(), append([]string{"ui"}, args...), io.Discard, &problem); code != 1 || !strings.Contains(problem.String(), want) {
			t.Errorf("%v: %d %s", args, code, problem.String())
		}
	}
}
