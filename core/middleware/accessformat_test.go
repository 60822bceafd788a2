package middleware_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/middleware"
)

func answerWith(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

func request(uri string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, uri, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	return r
}

// TestAccessLines holds the lines against the forms that log analysers read.
func TestAccessLines(t *testing.T) {
	t.Parallel()
	r := request(`/a"b?x=1&token=secret&access_token[]=s2;Password=s3&y=2`)
	r.SetBasicAuth("some one", "hidden")
	r.Header.Set("Referer", "https://example.com/?code=s4&z=1")
	r.Header.Set("User-Agent", "evil\"\n\x1b[31m\\")
	for format, want := range map[string]string{
		"common":   `^192\.0\.2\.7 - some\\x20one \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "GET /a\\"b\?x=1&token=\*\*\*&access_token\[\]=\*\*\*;Password=\*\*\*&y=2 HTTP/1\.1" 418 5` + "\n$",
		"combined": `" 418 5 "https://example\.com/\?code=\*\*\*&z=1" "evil\\"\\x0a\\x1b\[31m\\\\"` + "\n$",
	} {
		c := middleware.DefaultAccessConfig()
		c.Format = format
		var out bytes.Buffer
		middleware.AccessLines(c, &out)(answerWith(http.StatusTeapot, "short")).ServeHTTP(httptest.NewRecorder(), r)
		if !regexp.MustCompile(want).MatchString(out.String()) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %q, want %s", format, out.String(), want)
		}
		for _, secret := range []string{"hidden", "secret", "s2", "s3", "s4"} {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: %q has %q in it", format, out.String(), secret)
			}
		}
	}
}

// TestRedaction in records of the log: headers that are asked for, without what lets their sender in.
func TestRedaction(t *testing.T) {
	t.Parallel()
	c := middleware.DefaultAccessConfig()
	c.Headers = []string{"Authorization", "X-Tenant", "X-None"}
	var out bytes.Buffer
	r := request("/?%74oken=secret&key=&q=token")
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("X-Tenant", "a\nb")
	middleware.AccessLog(c, slog.New(slog.NewJSONHandler(&out, nil)))(answerWith(200, "")).ServeHTTP(httptest.NewRecorder(), r)
	for _, want := range []string{`"uri":"/?%74oken=***&key=&q=token"`, `"headers":{"authorization":"***","x-tenant":"a\\nb"}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "secret") {
		t.Errorf("a secret is in %s", out.String())
	}
}

// TestSampling leaves requests out, and never one that has failed.
func TestSampling(t *testing.T) {
	t.Parallel()
	for sample, want := range map[float64][2]int{0: {0, 0}, 1: {1000, 1000}, 0.5: {350, 650}} {
		c := middleware.DefaultAccessConfig()
		c.Format, c.Sample = "common", sample
		var out bytes.Buffer
		h := middleware.AccessLines(c, &out)
		for range 1000 {
			h(answerWith(200, "")).ServeHTTP(httptest.NewRecorder(), request("/"))
		}
		if n := strings.Count(out.String(), "\n"); n < want[0] || n > want[1] {
			t.Errorf("%g: %d lines of 1000, want %v", sample, n, want)
		}
		out.Reset()
		h(answerWith(500, "")).ServeHTTP(httptest.NewRecorder(), request("/"))
		if out.Len() == 0 {
			t.Errorf("%g: an error is not written", sample)
		}
	}
}

// FuzzAccessLine: whatever comes, a request is one line of printable characters, and a secret is not in it.
func FuzzAccessLine(f *testing.F) {
	f.Add("/a?token=SECRET&b=c", "agent", "https://a/?key=SECRET")
	f.Add("/?;token=SECRET#x", "\x00\n\"", "?code=SECRET&&")
	f.Fuzz(func(t *testing.T, uri, agent, referer string) {
		c := middleware.DefaultAccessConfig()
		c.Format = "combined"
		var out bytes.Buffer
		r := request("/")
		r.RequestURI = uri
		r.Header["User-Agent"], r.Header["Referer"] = []string{agent}, []string{referer}
		middleware.AccessLines(c, &out)(answerWith(200, "")).ServeHTTP(httptest.NewRecorder(), r)
		line, ok := strings.CutSuffix(out.String(), "\n")
		if !ok || strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("%q", out.String())
		}
		fields := regexp.MustCompile(`^[^ ]+ - [^ ]+ \[[^]]+\] "((?:[^"\\]|\\.)*)" 200 - "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$`)
		if !fields.MatchString(line) {
			t.Errorf("an analyser cannot read %q", line)
		}
	})
}
