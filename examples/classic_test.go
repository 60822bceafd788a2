package examples

import (
	"net/http/cookiejar"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

func TestClassic(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	s := edgetest.StartDir(t, "classic")
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		if _, body := m.Get(t, "/style.css"); !strings.Contains(body, "sans-serif") {
			t.Errorf("/style.css = %q", body)
		}
		if res, body := m.Get(t, "/nothing"); res.StatusCode != 404 || body != "There is no /nothing" {
			t.Errorf("/nothing = %s %q", res.Status, body)
		}
		m.Client.Jar, _ = cookiejar.New(nil)
		for _, want := range []string{"Visit 1,", "Visit 2,"} {
			if _, body := m.Get(t, "/"); !strings.Contains(body, want) {
				t.Errorf("/ = %q, want %q", body, want)
			}
		}
	})
}
