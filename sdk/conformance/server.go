package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// RunServer runs the table against the guest at path through a whole server on HTTP/1.1, HTTP/2 and HTTP/3: with stores, PHP,
// and servers elsewhere.
func RunServer(t *testing.T, path string) {
	t.Helper()
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	rows := slices.Concat(httpRows, edgeRows)
	s := edgetest.Start(t, serverConfig(t, path, rows), func(dir string) {
		os.Mkdir(filepath.Join(dir, "php"), 0o755)
		os.WriteFile(filepath.Join(dir, "php", "index.php"), []byte(phpPage), 0o644)
	})
	words := []string{"{HTTP}", httpElsewhere(t), "{TCP}", tcpElsewhere(t)}
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) { r.check(t, target{m.Client, m.URL, m.Proto, s.Log, words}) })
		}
	})
}

const phpPage = `<?php header("X-Several: one"); header("X-Several: two", false); header("X-Single: 1"); echo "php ", $_SERVER["REQUEST_METHOD"], " ", $_SERVER["REQUEST_URI"], " ", file_get_contents("php://input");`

// httpElsewhere is a server that a guest calls.
func httpElsewhere(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
			return
		case "/header":
			w.Header()["X-Several"], w.Header()["X-Single"] = []string{"one", "two"}, []string{"1"}
			return
		case "/large":
			io.WriteString(w, strings.Repeat("0123456789", 2000))
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "an answer")
		w.WriteHeader(http.StatusMultiStatus)
		uri := strings.ReplaceAll(r.RequestURI, "%20", " ")
		fmt.Fprint(w, r.Method, " ", uri, " ", r.Header.Get("X-Ask"), " ", string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// tcpElsewhere answers one line in capitals and closes.
func tcpElsewhere(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends when the listener is closed
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, strings.ToUpper(line))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

// serverConfig is an edge.yaml with the plugins of the table: a route for each, by the host of the request.
func serverConfig(t *testing.T, path string, rows []row) string {
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	var routes, plugins strings.Builder
	all := modules(path, rows)
	all["router"] = all["plain"]
	for _, name := range slices.Sorted(maps.Keys(all)) {
		m := all[name]
		fmt.Fprintf(&plugins, "    %s:\n      file: %s\n      limits: {body: %d}\n", quote(name), quote(path), m.Limits.Body)
		fmt.Fprintf(&plugins, "      allow: {kv: [store], net: [\"tcp://127.0.0.1:*\", \"http://127.0.0.1:*\"], publish: [\"chat.*\"], php: [app]}\n")
		if m.Config != nil {
			fmt.Fprintf(&plugins, "      config: %s\n", quote(m.Config))
		}
		if name != "origin" && name != "router" {
			fmt.Fprintf(&routes, "    - {match: {host: %s.test}, use: [%s], wasm: origin}\n", name, quote(name))
		}
	}
	return "log: {format: json}\nkv: {store: {}, other: {}}\nphp:\n  app: {mode: classic, root: php, workers: {min: 1, max: 2}, user: " + self(t) + "}\n" +
		"http:\n  routers: [router]\n  routes:\n" + routes.String() + "    - {name: other, match: {host: other.test}, respond: the other route}\n" +
		"plugins:\n  dir: \"\"\n  modules:\n" + plugins.String()
}

// self is the user that runs the test: PHP must be told to run as root.
func self(t *testing.T) string {
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// quote writes a value as YAML.
func quote(v any) string {
	text, _ := json.Marshal(v) // of texts
	return string(text)
}
