package proxy_test

import (
	"strings"
	"testing"

	"github.com/edge-server/edge/core/proxy"
)

// TestUpstreamsThatAreNone: passwords are not taken, and not repeated; ports are ports.
func TestUpstreamsThatAreNone(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://user:hush@127.0.0.1:1": "user and password", "http://user:hush@127.0.0.1:1%zz": "user and password", "https://hush@a": "headers.request",
		"http://a:99999": "99999 is no port", "fastcgi://a:65536": "65536 is no port", "http://a:0": "0 is no port", "ftp://a": "write http://host:port",
	} {
		c := config(url, url)
		mirrored := config("http://a")
		mirrored.Mirror = &proxy.Mirror{URL: url, Percent: 100, Max: 1, Timeout: 1}
		for place, err := range map[string]error{"upstreams[0].url: ": c.Validate(), "mirror.url: ": mirrored.Validate()} {
			switch {
			case err == nil || !strings.Contains(err.Error(), place):
				t.Errorf("%s: %v", url, err)
			case strings.Contains(err.Error(), "hush"):
				t.Errorf("%s: the password is in %q", url, err)
			case place[0] == 'u' && !strings.Contains(err.Error(), want):
				t.Errorf("%s: %q, want %q in it", url, err, want)
			}
		}
	}
	for _, url := range []string{"http://a:1", "https://[::1]:65535", "h2c://a:80", "unix:/run/a@b.sock", "fastcgi:/run/a.sock", "fastcgi://a:9000"} {
		c := config(url)
		c.FastCGI.Root = "/srv"
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
