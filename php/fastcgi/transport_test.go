package fastcgi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php/fastcgi"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// fpm runs php-fpm over the scripts and returns a Transport to it.
func fpm(t *testing.T, scripts map[string]string) *fastcgi.Transport {
	t.Helper()
	program := testenv.Tool(t, "php-fpm8.2", "apt install php-fpm")
	dir := testenv.Dir(t)
	for name, text := range scripts {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "fpm.sock")
	conf := fmt.Sprintf("[global]\nerror_log = %s/log\n[www]\nlisten = %s\npm = static\npm.max_children = 2\n", dir, socket)
	if os.Geteuid() == 0 {
		conf += "user = root\ngroup = root\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "fpm.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", filepath.Join(dir, "fpm.conf"))
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	dial := func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", socket) }
	testenv.Eventually(t, "php-fpm listens", func() bool {
		conn, err := dial(t.Context())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return &fastcgi.Transport{Dial: dial, Root: dir, Index: "index.php", Header: 5 * time.Second}
}

func TestTransportToPHPFPM(t *testing.T) {
	t.Parallel()
	tr := fpm(t, map[string]string{
		"index.php": `<?php header('X-Script: index'); http_response_code(201);
			echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '-', ' ',
			$_SERVER['HTTP_HOST'], ' ', $_SERVER['REMOTE_ADDR'], ' ', $_SERVER['HTTPS'] ?? 'off', ' ', isset($_SERVER['HTTP_PROXY']) ? 'poxy' : '', ' ', strlen(file_get_contents('php://input'));`,
		"sub/a.php":  `<?php echo 'sub ', $_SERVER['PATH_INFO'] ?? '-', ' ', $_POST['x'] ?? '';`,
		"slow.php":   `<?php for ($i = 0; $i < 3; $i++) { echo $i, "\n"; flush(); usleep(1000); }`,
		"hang.php":   `<?php sleep(60);`,
		"server.php": `<?php echo $_SERVER['SERVER_NAME'] ?? '-', ' ', $_SERVER['SERVER_PORT'] ?? '-', ' ', $_SERVER['SERVER_ADDR'] ?? '-', ' ', $_SERVER['REMOTE_ADDR'] ?? '-';`,
		".git/x.php": `<?php echo 'SECRET';`,
	})
	ask := func(method, target string, body io.Reader, headers ...string) (int, string) {
		t.Helper()
		r := httptest.NewRequest(method, target, body)
		r.Host = "app.example"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := tr.RoundTrip(r)
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		return res.StatusCode, string(text)
	}
	big := strings.Repeat("x", 300<<10)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	for _, tt := range []struct {
		method, target, body string
		unknown              bool
		headers              []string
		status               int
		want                 string
	}{
		{"GET", "/users/1?a=b%20c", "", false, []string{"Proxy", "evil"}, 201, "GET /users/1?a=b%20c /index.php - app.example 192.0.2.1 off  0"},
		{"GET", "/", "", false, nil, 201, "GET / /index.php - app.example 192.0.2.1 off  0"},
		{"GET", "/index.php/info/x", "", false, nil, 201, "GET /index.php/info/x /index.php /info/x app.example 192.0.2.1 off  0"},
		{"POST", "/up", big, false, nil, 201, fmt.Sprintf("POST /up /index.php - app.example 192.0.2.1 off  %d", len(big))},
		{"POST", "/up", big, true, nil, 201, fmt.Sprintf("POST /up /index.php - app.example 192.0.2.1 off  %d", len(big))},
		{"POST", "/sub/a.php", "x=formed", false, form, 200, "sub - formed"},
		{"GET", "/slow.php", "", false, nil, 200, "0\n1\n2\n"},
		{"GET", "/.git/x.php", "", false, nil, 201, "GET /.git/x.php /index.php - app.example 192.0.2.1 off  0"},
		{"GET", "/none.php", "", false, nil, 404, "File not found.\n"},
	} {
		var body io.Reader
		if tt.body != "" {
			body = strings.NewReader(tt.body)
		}
		if tt.unknown {
			body = io.MultiReader(body)
		}
		if status, text := ask(tt.method, tt.target, body, tt.headers...); status != tt.status || text != tt.want {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, status, text, tt.status, tt.want)
		}
	}
	for _, tt := range []struct {
		local  net.Addr
		url    string
		remote string
		want   string
	}{
		{&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 8080}, "http://app.example/server.php", "192.0.2.1:1234", "app.example 8080 192.0.2.7 192.0.2.1"},
		{&net.TCPAddr{IP: net.IPv6loopback, Port: 8443}, "https://app.example/server.php", "[2001:db8::1]:1", "app.example 8443 ::1 2001:db8::1"},
		{&net.UnixAddr{Name: "/run/edge.sock", Net: "unix"}, "https://app.example/server.php", "192.0.2.9", "app.example 443 - 192.0.2.9"},
		{&net.UnixAddr{Name: "/run/edge.sock", Net: "unix"}, "http://app.example:81/server.php", "@", "app.example 81 - -"},
	} {
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, tt.local), "GET", tt.url, nil)
		r.RemoteAddr = tt.remote
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if res.Body.Close(); err != nil || string(text) != tt.want {
			t.Errorf("%s on %s: %q %v, want %q", tt.url, tt.local, text, err, tt.want)
		}
	}
	if _, text := ask("POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 2<<20)))); text != fastcgi.ErrNoLength.Error() {
		t.Errorf("a long body without a length: %q", text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := tr.RoundTrip(httptest.NewRequestWithContext(ctx, "GET", "/hang.php", nil)); err == nil {
		t.Error("a script that hangs has answered")
	}
	short := *tr
	short.Header = 200 * time.Millisecond
	_, err := short.RoundTrip(httptest.NewRequest("GET", "/hang.php", nil))
	if timeout, ok := err.(net.Error); !ok || !timeout.Timeout() {
		t.Errorf("no answer in time: %v", err)
	}
}

// FuzzTransport: whatever a server sends, there is an error or an answer that ends, with headers that HTTP allows.
func FuzzTransport(f *testing.F) {
	end := record(fastcgi.EndRequest, "\x00\x00\x00\x00\x00\x00\x00\x00")
	f.Add(append(record(fastcgi.Stdout, "Status: 201\r\nX: y\r\n\r\nbody"), end...))
	f.Add(append(record(fastcgi.Stdout, "Content-Length: 9\r\n\r\nbody"), end...))
	f.Add(append(record(fastcgi.Stderr, "oh"), record(fastcgi.Stdout, "A b: c\r\n\r\n")...))
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		go func() { // ends with the connection
			defer theirs.Close()
			go io.Copy(io.Discard, bufio.NewReader(theirs))
			_, _ = theirs.Write(b)
		}()
		tr := &fastcgi.Transport{Dial: func(context.Context) (net.Conn, error) { return ours, nil }, Root: "/srv", Index: "index.php"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		res, err := tr.RoundTrip(httptest.NewRequestWithContext(ctx, "POST", "/x.php/y", strings.NewReader("body")))
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if err == nil && res.ContentLength >= 0 && n != res.ContentLength && res.StatusCode != 204 && res.StatusCode != 304 {
			t.Errorf("%d bytes of %d", n, res.ContentLength)
		}
		for name, values := range res.Header {
			if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") || name == "Transfer-Encoding" || name == http.CanonicalHeaderKey("trailer") {
				t.Errorf("%q: %q", name, values)
			}
		}
		if ctx.Err() != nil {
			t.Error("it does not end")
		}
	})
}
