package php_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// asked is a request of which PHP makes something.
type asked struct {
	method, contentType, cookie, body string
}

const (
	urlEncoded = "application/x-www-form-urlencoded"
	multiPart  = "multipart/form-data; boundary=b"
)

// parts joins the parts of a multipart body: what follows form-data, and the content, in turn.
func parts(texts ...string) string {
	var b strings.Builder
	for i := 0; i < len(texts); i += 2 {
		fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n", texts[i], texts[i+1])
	}
	return b.String() + "--b--\r\n"
}

// TestSuperglobals compares what sdk/php makes of requests with what PHP does, a real one under CGI.
func TestSuperglobals(t *testing.T) {
	t.Parallel()
	w := setup(t, "superglobals.php", func(c *php.Config, _ *php.Options) { c.Env = map[string]string{"EDGE_WORKER": "1"} })
	var requests []asked
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET", "PURGE"} {
		requests = append(requests, asked{method: method, contentType: urlEncoded, body: "id=5&a[x]=1"})
	}
	for _, body := range []string{
		"a.b=1&c d=2&+e=3&f[g.h][]=4&f[g.h][]=5", "k[a]=1&k=2", "k=1&k[a]=2", "k=1&k=2", "bad=%zz&=e&x", "n=%00%ff&l[=1&m]=2&o[p=3", "a[b]c=1&[d]=2", "",
	} {
		requests = append(requests, asked{method: "POST", contentType: urlEncoded, body: body})
	}
	for _, cookie := range []string{
		"a=1; a=2", "pl=a+b", "pct=%zz%41", "arr[x]=1; arr[y]=2; arr[]=3; arr[x]=4", "a.b=1; a_b=2", `q="quoted; r="x"`, "n%61me=1", "a b=1; a_b=2", "v= 1 ;w=2 ; x =3",
		"flag; =1; ;; y", "a=1; a[x]=2", "a[x]=1; a=2", "5=five; 05=x; -3=y", "s=%00%22%20", "a=b=c", "__Host-a=1; ..Host-b=2; __Secure.c=3; _[Host-d=4", "[x]=1; a]=2; b[=3; c[d=4",
		"", "é=ü", "a.b=1; c=x+y%2B&z=1",
	} {
		requests = append(requests, asked{method: "GET", cookie: cookie})
	}
	for _, body := range []string{
		parts(`name="a.b"`, "1", `name="c d"`, "2", `name="k[a]"`, "1", `name="k"`, "2", `name="l"`, "1", `name="l[x]"`, "2", `name="l[]"`, "3"),
		parts(`name="raw"`, "a%41+b&c=d;e\x00\xff", `name="a%20b"`, "1", `name="=&+"`, "2"),
		parts(`name="photo"; filename=""`, "", `name="title"`, "t"),
		parts(`name="photos[]"; filename=""`, "", `name="p[a][b]"; filename=""`, ""),
		parts(`name="f"; filename="a.txt"`, "first", `name="f"; filename="b.txt"`, "second"),
		parts(`name="f.x"; filename="a.txt"`, "1", `name="g h"; filename="b.txt"`, "2", `name="l[]"; filename="c.txt"`, "3", `name="l[]"; filename="d.txt"`, "4"),
		parts(`name="m[a][b]"; filename="a.txt"`, "1", `name="m[a][c]"; filename="b.txt"`, "2", `name="bad[x"; filename="c"`, "3", `name="bad]x"; filename="c"`, "4", `name="bad[x]y"; filename="c"`, "5"),
		parts(`name="f"; filename="C:\\dir\\a.txt"`, "1", `name="g"; filename="../../b.txt"`, "2", `name="h"; filename="\xff.txt"`, "3"),
	} {
		requests = append(requests, asked{method: "POST", contentType: multiPart, body: body})
	}
	requests = append(requests, asked{method: "DELETE", contentType: multiPart, body: parts(`name="a"`, "1")}, asked{method: "DELETE", contentType: "text/plain", body: "text"})

	for _, ask := range requests {
		r := httptest.NewRequest(ask.method, "/", strings.NewReader(ask.body))
		if ask.contentType != "" {
			r.Header.Set("Content-Type", ask.contentType)
		}
		if ask.cookie != "" {
			r.Header.Set("Cookie", ask.cookie)
		}
		response, got := w.do(r)
		if response.StatusCode != http.StatusOK {
			t.Errorf("%+v: status %d: %s", ask, response.StatusCode, got)
			continue
		}
		if diff := cmp.Diff(underCGI(t, ask), got); diff != "" {
			t.Errorf("%+v (-PHP +sdk/php):\n%s", ask, diff)
		}
	}
}

// underCGI is what PHP's own superglobals have.
func underCGI(t *testing.T, ask asked) string {
	t.Helper()
	script := filepath.Join(testenv.Root(t), "php", "testdata", "superglobals.php")
	cmd := exec.CommandContext(t.Context(), phpCGI(t), "-q", "-d", "display_errors=0", "-d", "log_errors=0")
	cmd.Env = []string{
		"REDIRECT_STATUS=200", "GATEWAY_INTERFACE=CGI/1.1", "SCRIPT_FILENAME=" + script, "REQUEST_METHOD=" + ask.method,
		"CONTENT_TYPE=" + ask.contentType, "CONTENT_LENGTH=" + strconv.Itoa(len(ask.body)), "HTTP_COOKIE=" + ask.cookie,
	}
	cmd.Stdin = strings.NewReader(ask.body)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("php-cgi: %v", err)
	}
	_, text, _ := strings.Cut(string(out), "\r\n\r\n")
	return text
}

// TestNoResponse: a function that forgets its return is told so, and the worker goes on.
func TestNoResponse(t *testing.T) {
	t.Parallel()
	w := setup(t, "sdk.php", nil)
	w.expectStatus("/null", 500)
	w.logged("returned null instead of an Edge")
	if strings.Contains(w.log.String(), "TypeError") || strings.Contains(w.log.String(), "Warning") {
		t.Error("the SDK stumbles over it")
	}
	w.expectStatus("/pid", 200)
}
