package core_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestClassicModeThroughTheServer serves an unchanged application over every version of HTTP: files by Edge, the rest by PHP.
func TestClassicModeThroughTheServer(t *testing.T) {
	t.Parallel()
	cgi := testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	user := ""
	if os.Geteuid() == 0 {
		user = "user: root, "
	}
	s := edgetest.Start(t, `
http:
  basic_auth: {staff: {users: {alice: "plain:secret"}}}
  routes: [{match: {path: /staff}, use: [basic-auth/staff], php: app}, {php: app}]
php: {app: {mode: classic, `+user+`command: [`+cgi+`], root: public, static: {forbid: [.zip]}}}
`, func(dir string) {
		for name, text := range map[string]string{
			"index.php":  `<?php echo 'php ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['HTTPS'] ?? 'off', ' ', $_SERVER['SERVER_PROTOCOL'], $_SERVER['REMOTE_USER'] ?? '';`,
			"style.css":  "a {}",
			".env":       "secret",
			"config.inc": "secret",
			"a.zip":      "secret",
		} {
			path := filepath.Join(dir, "public", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	})
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", m.URL+"/staff", nil)
		req.SetBasicAuth("alice", "secret")
		if _, text := m.Do(t, req); !strings.HasSuffix(text, "alice") {
			t.Errorf("with a password: %q", text)
		}
		https := "on"
		if strings.HasPrefix(m.URL, "http://") {
			https = "off"
		}
		for path, want := range map[string]string{
			"/style.css":  "a {}",
			"/a/b?c=d":    "php /a/b?c=d " + https + " " + m.Proto,
			"/.env":       "php /.env " + https + " " + m.Proto,
			"/config.inc": "php /config.inc " + https + " " + m.Proto,
			"/a.zip":      "php /a.zip " + https + " " + m.Proto,
		} {
			res, err := m.Client.Get(m.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != http.StatusOK || string(body) != want {
				t.Errorf("%s = %d %q, want %q", path, res.StatusCode, body, want)
			}
		}
	})
}
