package examples

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/exampleapp"
	"github.com/edge-server/edge/internal/testenv"
)

// framework is an example with what the tests need to know of it.
type framework struct {
	name  string
	extra string // a folder laid over the example, with routes that only the tests ask for
	pool  string // of edge.yaml, the part that makes it a worker
	env   string // for php-fpm, too
	die   string // a path whose script calls exit
	after string // a path that works after its response
}

var symfony = framework{
	name:  "symfony",
	extra: "examples/testdata/symfony",
	pool:  `command: [php, -d, opcache.enable_cli=1, public/index.php]`,
	env:   `APP_ENV: prod, APP_DEBUG: "0", APP_SECRET: s3cret, APP_RUNTIME: 'Edge\Symfony\Runtime'`,
	die:   "/test/die",
	after: "/test/after",
}

var laravel = framework{
	name:  "laravel",
	extra: "examples/testdata/laravel",
	pool:  `command: [php, -d, opcache.enable_cli=1, vendor/bin/edge-laravel]`,
	env:   `APP_NAME: Test, DB_DATABASE: ":memory:"`,
	die:   "/test/die",
	after: "/test/after",
}

var lumen = framework{
	name: "lumen",
	pool: `command: [php, vendor/bin/edge-laravel]`,
	env:  `APP_NAME: Test`,
}

// install puts the application into a folder of its own.
func (f framework) install(t *testing.T) string {
	t.Helper()
	testenv.PHP(t)
	if exampleapp.Missing(f.name) {
		testenv.Missing(t, f.name+" of Debian's packages", exampleapp.Packages[f.name])
	}
	dir := testenv.Dir(t)
	var extra []string
	if f.extra != "" {
		extra = append(extra, f.extra)
	}
	if err := exampleapp.Install(testenv.Root(t), f.name, dir, extra...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// workers serves the application by that many workers.
func (f framework) workers(t *testing.T, n int) *edgetest.Server {
	t.Helper()
	dir := f.install(t)
	return f.serve(t, dir, fmt.Sprintf("%s, workers: {min: %d, max: %d}", f.pool, n, n))
}

// fpm serves the same application under php-fpm.
func (f framework) fpm(t *testing.T) *edgetest.Server {
	t.Helper()
	program := "php-fpm"
	if found, _ := filepath.Glob("/usr/sbin/php-fpm*"); len(found) > 0 {
		program = found[len(found)-1] // Debian's name has the version
	}
	program = testenv.Tool(t, program, "apt-get install php-fpm")
	dir := f.install(t)
	return f.serve(t, dir, fmt.Sprintf("mode: classic, root: %q, command: [%s], workers: {min: 1, max: 1}", filepath.Join(dir, "public"), program))
}

func (f framework) serve(t *testing.T, dir, pool string) *edgetest.Server {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 {
		user = "user: root, "
	}
	return edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{php: app}]}
php:
  app: {dir: %q, %sboot_timeout: 90s, env: {%s}, %s}
`, dir, user, f.env, pool))
}

// client has cookies of its own.
func client(t *testing.T, s *edgetest.Server) edgetest.Mode {
	t.Helper()
	m := s.Modes(t)[0]
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Client = &http.Client{Transport: m.Client.Transport, CheckRedirect: m.Client.CheckRedirect, Jar: jar}
	return m
}

// ask is a request of a table.
type ask struct {
	method, path string
	header       map[string]string
	body         string
}

func form(body string) ask {
	return ask{method: "POST", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, body: body}
}

func (a ask) at(path string) ask { a.path = path; return a }

func (a ask) request(t testing.TB, base string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), a.method, base+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range a.header {
		req.Header.Set(name, value)
	}
	return req
}

// upload is a form with a file and a text.
func upload(path, title, content string) ask {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.SetBoundary("----boundary")
	w.WriteField("title", title)
	if content != "" {
		part, _ := w.CreateFormFile("file", "a name.bin")
		io.WriteString(part, content)
	} else {
		w.CreateFormFile("file", "") // a field that was left empty
	}
	w.Close()
	return ask{method: "POST", path: path, header: map[string]string{"Content-Type": w.FormDataContentType()}, body: body.String()}
}

// volatile is what differs between two answers to the same request: ports, dates, ids, keys and signatures.
var volatile = regexp.MustCompile(`(127\.0\.0\.1|localhost):\d+|(PHPSESSID|XSRF-TOKEN|laravel_session)=[^;]*|` +
	`value="[A-Za-z0-9]{40}"|(?i:expires)=[^;]*|Max-Age=\d+|\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT`)

// sameAsFPM sends the request to both servers.
func sameAsFPM(t *testing.T, edge, fpm edgetest.Mode, a ask) {
	t.Helper()
	got, gotBody := edge.Do(t, a.request(t, edge.URL))
	want, wantBody := fpm.Do(t, a.request(t, fpm.URL))
	mask := func(s string) string { return volatile.ReplaceAllString(s, "…") }
	if got.StatusCode != want.StatusCode {
		t.Errorf("status %d, under php-fpm %d", got.StatusCode, want.StatusCode)
	}
	if g, w := mask(gotBody), mask(wantBody); g != w {
		t.Errorf("body\n%s\nunder php-fpm\n%s", g, w)
	}
	for name := range want.Header {
		g, w := slices.Clone(got.Header[name]), slices.Clone(want.Header[name])
		for _, list := range [][]string{g, w} {
			for i := range list {
				list[i] = mask(list[i])
			}
			slices.Sort(list)
		}
		// Edge knows the length of what a worker sends whole; php-fpm does not tell.
		if name != "Content-Length" && !slices.EqualFunc(g, w, strings.EqualFold) {
			t.Errorf("header %s: %q, under php-fpm %q", name, g, w)
		}
	}
	for name := range got.Header {
		if _, ok := want.Header[name]; !ok && name != "Content-Length" {
			t.Errorf("header %s: %q, none under php-fpm", name, got.Header[name])
		}
	}
}

func TestSymfonyAnswersAsUnderPHPFPM(t *testing.T) {
	t.Parallel()
	edge, fpm := symfony.workers(t, 1).Modes(t)[0], symfony.fpm(t).Modes(t)[0]
	large := strings.Repeat("0123456789abcdef", 64<<10)
	for name, a := range map[string]ask{
		"page":          {path: "/?name=Edge%20%26%20co"},
		"json":          {path: "/api/products/3"},
		"not found":     {path: "/nowhere"},
		"method":        {method: "DELETE", path: "/forget"},
		"front":         {path: "/index.php/api/products"},
		"exception":     {path: "/broken"},
		"query":         {path: "/api/echo?a[]=1&a[]=2&b[c]=d&e=%C3%A4"},
		"odd query":     {path: "/api/echo?x.y=1&z+=2&=3&&q"},
		"headers":       {path: "/api/echo", header: map[string]string{"X-Custom": "ä b", "Accept": "text/html, application/json;q=0.5", "Cookie": "a=b; c=d%20e"}},
		"basic":         {path: "/api/echo", header: map[string]string{"Authorization": "Basic YWRhOmxvdmU6bGFjZQ=="}},
		"proxy":         {path: "/api/echo", header: map[string]string{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}},
		"form":          form("a[b][]=1&a[b][]=2&c=%20d").at("/api/echo?q=1"),
		"json body":     {method: "POST", path: "/api/echo", header: map[string]string{"Content-Type": "application/json"}, body: `{"a":1}`},
		"put form":      {method: "PUT", path: "/api/echo", header: form("").header, body: "a=1"},
		"patch form":    {method: "PATCH", path: "/api/echo", header: form("").header, body: "a=1"},
		"large body":    {method: "POST", path: "/api/echo", header: map[string]string{"Content-Type": "application/octet-stream"}, body: large},
		"head":          {method: "HEAD", path: "/api/products"},
		"upload":        upload("/upload", "a title", "the content"),
		"large upload":  upload("/upload", "a title", large),
		"empty upload":  upload("/upload", "a title", ""),
		"stream":        {path: "/stream"},
		"head stream":   {method: "HEAD", path: "/stream"},
		"download":      {path: "/download"},
		"range":         {path: "/download", header: map[string]string{"Range": "bytes=10-29"}},
		"not satisfied": {path: "/download", header: map[string]string{"Range": "bytes=1000000-"}},
		"session":       {path: "/counter"},
		"redirect":      form("").at("/forget"),
	} {
		t.Run(name, func(t *testing.T) { sameAsFPM(t, edge, fpm, a) })
	}
	res, _ := edge.Get(t, "/download")
	t.Run("not modified", func(t *testing.T) {
		sameAsFPM(t, edge, fpm, ask{path: "/download", header: map[string]string{"If-None-Match": res.Header.Get("Etag")}})
	})
}

func TestLaravelAnswersAsUnderPHPFPM(t *testing.T) {
	t.Parallel()
	edge, fpm := laravel.workers(t, 1).Modes(t)[0], laravel.fpm(t).Modes(t)[0]
	js := map[string]string{"Content-Type": "application/json", "Accept": "application/json"}
	for name, a := range map[string]ask{
		"page":         {path: "/?name=Edge%20%26%20co"},
		"json":         {path: "/api/products/3"},
		"not found":    {path: "/nowhere"},
		"method":       {method: "DELETE", path: "/api/products"},
		"exception":    {path: "/api/broken", header: js},
		"query":        {path: "/api/echo?a[]=1&a[]=2&b[c]=d&e=%C3%A4&empty="},
		"headers":      {path: "/api/echo", header: map[string]string{"X-Custom": "ä b", "Cookie": "a=b; c=d%20e"}},
		"basic":        {path: "/api/echo", header: map[string]string{"Authorization": "Basic YWRhOmxvdmU="}},
		"form":         form("a[b][]=1&a[b][]=2&c=%20d").at("/api/echo?q=1"),
		"override":     form("_method=PUT&a=1").at("/api/echo"),
		"json body":    {method: "POST", path: "/api/echo?q=1", header: js, body: `{"a":{"b":[1,2]}}`},
		"valid":        {method: "POST", path: "/api/validated", header: js, body: `{"email":"a@example.org","age":20}`},
		"invalid":      {method: "POST", path: "/api/validated", header: js, body: `{"email":"a","age":2}`},
		"upload":       upload("/api/upload", "a title", "the content"),
		"large upload": upload("/api/upload", "a title", strings.Repeat("0123456789abcdef", 64<<10)),
		"empty upload": upload("/api/upload", "a title", ""),
		"csrf":         form("").at("/forget"),
		"session":      {path: "/counter"},
		"stream":       {path: "/stream"},
		"download":     {path: "/download"},
		"range":        {path: "/download", header: map[string]string{"Range": "bytes=10-29"}},
		"paginator":    {path: "/test/page?page=2"},
	} {
		t.Run(name, func(t *testing.T) { sameAsFPM(t, edge, fpm, a) })
	}
}

func TestLumen(t *testing.T) {
	t.Parallel()
	s := lumen.workers(t, 1)
	m := client(t, s)
	for _, c := range []struct {
		ask
		want string
	}{
		{ask{path: "/hello/edge"}, `{"hello":"edge"}`},
		{form("b=2").at("/echo?a=1"), `{"input":{"b":"2","a":"1"},"path":"echo","helper":"echo"}`},
		{ask{method: "POST", path: "/echo", header: map[string]string{"Content-Type": "application/json"}, body: `{"c":3}`}, `{"input":{"c":3},"path":"echo","helper":"echo"}`},
		{upload("/upload", "t", "hello"), `{"name":"a name.bin","valid":true,"md5":"5d41402abc4b2a76b9719d911017c592"}`},
		{ask{path: "/visits"}, "1"},
		{ask{path: "/visits"}, "1"},
	} {
		if res, body := m.Do(t, c.request(t, m.URL)); res.StatusCode != 200 || body != c.want {
			t.Errorf("%s: %s %s, want %s", c.path, res.Status, body, c.want)
		}
	}
	if res, _ := m.Get(t, "/broken"); res.StatusCode != 500 {
		t.Errorf("/broken: %s", res.Status)
	}
	if res, _ := m.Get(t, "/nowhere"); res.StatusCode != 404 {
		t.Errorf("/nowhere: %s", res.Status)
	}
}

// eachFramework runs a test for Symfony and for Laravel.
func eachFramework(t *testing.T, workers int, test func(t *testing.T, f framework, s *edgetest.Server)) {
	for _, f := range []framework{symfony, laravel} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			test(t, f, f.workers(t, workers))
		})
	}
}

func TestFrameworksSpeakEveryProtocol(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		s.Run(t, func(t *testing.T, m edgetest.Mode) {
			if _, body := m.Get(t, "/?name=Edge"); !strings.Contains(body, "<h1>Hello, Edge</h1>") {
				t.Errorf("page %s", body)
			}
			scheme := "http"
			if m.Name != "h1" {
				scheme = "https"
			}
			if _, body := m.Get(t, "/api/echo"); !strings.Contains(body, `":"`+scheme+`:\/\/`) {
				t.Errorf("the application sees %s", body)
			}
		})
	})
}

// TestSessionsStayApart: visitors take turns in the same worker, and each keeps its own count.
func TestSessionsStayApart(t *testing.T) {
	t.Parallel()
	eachFramework(t, 2, func(t *testing.T, f framework, s *edgetest.Server) {
		visitors := make([]edgetest.Mode, 4)
		for i := range visitors {
			visitors[i] = client(t, s)
		}
		for round := 1; round <= testenv.Count(5, 200); round++ {
			var all sync.WaitGroup
			for i, m := range visitors {
				// The later ones join later: a session that leaked would show.
				visits := round - i
				if visits < 1 {
					continue
				}
				all.Go(func() {
					want := fmt.Sprintf("You were here %d times.", visits)
					if _, body := m.Get(t, "/counter"); !strings.Contains(body, want) {
						t.Errorf("visitor %d, round %d: want %q in\n%s", i, round, want, body)
					}
				})
			}
			all.Wait()
		}
		// Somebody without a cookie begins anew, and nobody without a session gets one.
		if _, body := s.Modes(t)[0].Get(t, "/counter"); !strings.Contains(body, "here 1 times") {
			t.Errorf("a new visitor sees %s", body)
		}
		if res, _ := s.Modes(t)[0].Get(t, "/api/products"); len(res.Header["Set-Cookie"]) > 0 {
			t.Errorf("without a session: %q", res.Header["Set-Cookie"])
		}
	})
}

func TestStateIsReset(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		m := client(t, s)
		res, first := m.Get(t, "/api/state")
		for range 3 {
			again, body := m.Get(t, "/api/state")
			if body != first || len(again.Header["Set-Cookie"]) != len(res.Header["Set-Cookie"]) {
				t.Errorf("first %s, then %s %v", first, body, again.Header)
			}
		}
		if _, body := m.Get(t, "/?name=x"); strings.Contains(body, "changed") || strings.Contains(body, `lang="fr"`) {
			t.Errorf("the page shows what another request changed: %s", body)
		}
	})
	t.Run("of PHP itself", func(t *testing.T) {
		t.Parallel()
		sameThrice(t, client(t, symfony.workers(t, 1)), "/test/stain")
	})
	t.Run("of Laravel's services", func(t *testing.T) {
		t.Parallel()
		s := laravel.workers(t, 1)
		sameThrice(t, client(t, s), "/test/stains")
	})
	t.Run("transactions", func(t *testing.T) {
		t.Parallel()
		m := client(t, laravel.workers(t, 1))
		for range 3 {
			if _, body := m.Get(t, "/test/transaction"); body != `{"level":0}` {
				t.Errorf("a transaction of an earlier request is open: %s", body)
			}
		}
	})
}

// sameThrice sends a request that changes everything it can, and expects that the next one sees nothing of it.
func sameThrice(t *testing.T, m edgetest.Mode, path string) {
	t.Helper()
	res, first := m.Get(t, path)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", path, res.Status, first)
	}
	for range 2 {
		if _, body := m.Get(t, path); body != first {
			t.Errorf("first\n%s\nthen\n%s", first, body)
		}
	}
}

// TestServicesSeeTheRequest: what was made or bound before any request works with the one that is there.
func TestServicesSeeTheRequest(t *testing.T) {
	t.Parallel()
	m := client(t, laravel.workers(t, 1))
	for _, host := range []string{"one.example", "two.example:81", "[::1]:8080"} {
		req := ask{path: "/test/url?a=1"}.request(t, m.URL)
		req.Host = host
		want := fmt.Sprintf(`{"url":"http://%[1]s/test/url?a=1","generated":"http://%[1]s/a","kept":"http://%[1]s/a"}`, host)
		if _, body := m.Do(t, req); strings.ReplaceAll(body, `\/`, "/") != want {
			t.Errorf("%s, want %s", body, want)
		}
	}
}

// TestBuffersMayBeRemoved: scripts end all output buffers before they print. Nothing that they print gets between the frames.
func TestBuffersMayBeRemoved(t *testing.T) {
	t.Parallel()
	s := symfony.workers(t, 1)
	m := client(t, s)
	if res, body := m.Get(t, "/test/unbuffered"); res.StatusCode != 200 || body != "answered" {
		t.Errorf("answer %s %q", res.Status, body)
	}
	if _, body := m.Get(t, "/test/unbuffered?lines=3"); body != "line 1\nline 2\nline 3\n" {
		t.Errorf("stream %q", body)
	}
	testenv.Eventually(t, "what was printed is in the log", func() bool {
		log := s.Log.String()
		return strings.Contains(log, "echoed before") && strings.Contains(log, "written to stdout") && strings.Contains(log, "a child")
	})
	// An endless one arrives while it is made, and ends when its client leaves.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", m.URL+"/test/unbuffered?lines=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := m.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	expectLines(t, res.Body, 70)
	cancel()
	// PHP could start no session in that process; the one that follows can.
	if _, body := m.Get(t, "/test/native"); !strings.Contains(body, `"secret":1`) || strings.Contains(body, `"id":""`) {
		t.Errorf("a session afterwards: %s", body)
	}
}

// TestNativeSessions: PHP's own session of one visitor is neither seen by the next nor kept locked.
func TestNativeSessions(t *testing.T) {
	t.Parallel()
	m := client(t, symfony.workers(t, 1))
	ids := map[string]bool{}
	for range 3 {
		_, body := m.Get(t, "/test/native")
		var got struct {
			Secret int
			ID     string
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || got.Secret != 1 || ids[got.ID] {
			t.Errorf("a visitor without cookie got %s, %v", body, err)
		}
		ids[got.ID] = true
	}
	// Each was written, though nobody closed it.
	for id := range ids {
		if _, body := m.Get(t, "/test/native?id="+id); !strings.Contains(body, `"secret":2`) {
			t.Errorf("the session %s is lost: %s", id, body)
		}
	}
}

// TestStreamsArePassedOn while they are made: this one never ends. When the client leaves, the worker is free again and lives.
func TestStreamsArePassedOn(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		m := client(t, s)
		_, before := m.Get(t, "/test/memory")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", m.URL+"/stream?pause=5&lines=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := m.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		expectLines(t, res.Body, 3)
		cancel()
		if _, after := m.Get(t, "/test/memory"); pid(t, after) != pid(t, before) {
			t.Errorf("the worker did not survive: %s, then %s", before, after)
		}
	})
}

// TestWorkAfterTheResponse: the client has its answer while the application still works.
func TestWorkAfterTheResponse(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		m := client(t, s)
		gate := filepath.Join(testenv.Dir(t), "go")
		if _, body := m.Get(t, f.after+"?go="+gate); body != "answered" {
			t.Fatalf("answer %q", body)
		}
		if err := os.WriteFile(gate, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var done []byte
		testenv.Eventually(t, "the work after the response is done", func() bool {
			done, _ = os.ReadFile(gate + ".done")
			return len(done) > 0
		})
		if string(done) != "went on" {
			t.Errorf("the work after the response %s", done)
		}
	})
}

func TestFailuresAreContained(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		m := client(t, s)
		ok := func() {
			t.Helper()
			if res, body := m.Get(t, "/api/products"); res.StatusCode != 200 || !strings.Contains(body, "Product 10") {
				t.Errorf("afterwards: %s %s", res.Status, body)
			}
		}
		broken := "/broken"
		if f.name == "laravel" {
			broken = "/api/broken"
		}
		if res, body := m.Get(t, broken); res.StatusCode != 500 || strings.Contains(body, "the controller broke") {
			t.Errorf("an exception: %s %s", res.Status, body)
		}
		ok()
		testenv.Eventually(t, "the exception is in the log", func() bool { return strings.Contains(s.Log.String(), "the controller broke") })

		if res, _ := m.Get(t, f.die); res.StatusCode < 500 {
			t.Errorf("exit: %s", res.Status)
		}
		ok()
		testenv.Eventually(t, "the log says what happened", func() bool {
			return strings.Contains(s.Log.String(), "the application called exit or die")
		})
	})
}

// TestLeftovers: what a request leaves in PHP itself does not reach the next.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	s := symfony.workers(t, 1)
	m := client(t, s)
	for range 2 {
		if _, body := m.Get(t, "/test/litter"); body != "littered" {
			t.Errorf("answer %q", body)
		}
	}
	if res, body := m.Get(t, "/test/burn"); body != "burnt" {
		t.Errorf("a limit of another request ended this one: %s %s", res.Status, body)
	}
	testenv.Eventually(t, "what was printed is in the log", func() bool { return strings.Contains(s.Log.String(), "litter") })
}

func TestEarlyHintsFromSymfony(t *testing.T) {
	t.Parallel()
	m := client(t, symfony.workers(t, 1))
	hints := hintsOf(t, m, "/test/hints")
	if !slices.Contains(hints, "</app.css>; rel=preload; as=style") {
		t.Errorf("hints %q", hints)
	}
}

// TestWorkersDoNotGrow with the number of requests they have served.
func TestWorkersDoNotGrow(t *testing.T) {
	t.Parallel()
	eachFramework(t, 1, func(t *testing.T, f framework, s *edgetest.Server) {
		m := client(t, s)
		round := func() int {
			for _, path := range []string{"/", "/api/products", "/counter", "/api/state", "/nowhere", "/stream", "/download"} {
				m.Get(t, path)
			}
			_, body := m.Get(t, "/test/memory")
			var got struct{ Bytes int }
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatalf("%v: %s", err, body)
			}
			return got.Bytes
		}
		for range 10 {
			round()
		}
		before := round()
		rounds := testenv.Count(40, 2000)
		after := 0
		for range rounds {
			after = round()
		}
		if grown := after - before; grown > 64<<10 {
			t.Errorf("%d bytes more after %d rounds: %d, then %d", grown, rounds, before, after)
		}
	})
}

// hintsOf returns the Link headers of the informational answers to a request.
func hintsOf(t *testing.T, m edgetest.Mode, path string) (links []string) {
	t.Helper()
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		if code == http.StatusEarlyHints {
			links = append(links, header["Link"]...)
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	m.Do(t, req)
	return links
}

func pid(t *testing.T, body string) int {
	t.Helper()
	var got struct{ PID int }
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.PID == 0 {
		t.Fatalf("%v: %s", err, body)
	}
	return got.PID
}

// expectLines reads the first lines of a stream, as they come.
func expectLines(t *testing.T, body io.Reader, n int) {
	t.Helper()
	lines := bufio.NewScanner(body)
	for i := 1; i <= n; i++ {
		if want := fmt.Sprintf("line %d", i); !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q, %v, want %q", lines.Text(), lines.Err(), want)
		}
	}
}
