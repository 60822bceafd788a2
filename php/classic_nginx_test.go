package php_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/php"
)

// everythingPHP tells all that a script can learn of its request.
const everythingPHP = `<?php
header('Content-Type: application/json');
header('X-Script: ' . basename(__FILE__));
$files = $_FILES;
array_walk_recursive($files, function (&$v, $k) {
	if (($k === 'tmp_name' || is_int($k)) && is_string($v) && str_starts_with($v, '/')) { $v = md5_file($v); }
});
echo json_encode(['server' => $_SERVER, 'get' => $_GET, 'post' => $_POST, 'files' => $files, 'cookie' => $_COOKIE,
	'input' => md5(file_get_contents('php://input')), 'length' => strlen(file_get_contents('php://input')),
	'self' => $_SERVER['PHP_SELF']], JSON_INVALID_UTF8_SUBSTITUTE);
`

// runNginx serves root as the documentation of every framework says, by the php-fpm at that socket, and returns its address.
func runNginx(t *testing.T, root, socket string) string {
	program := testenv.Tool(t, "nginx", "apt-get install nginx-light")
	dir := testenv.Dir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	account := ""
	if os.Geteuid() == 0 {
		account = "user root;"
	}
	config := fmt.Sprintf(`%[1]s
daemon off; worker_processes 1; pid %[2]s/nginx.pid; error_log %[2]s/error.log;
events {}
http {
	access_log off; default_type text/plain; client_max_body_size 0;
	client_body_temp_path %[2]s/body; fastcgi_temp_path %[2]s/fcgi; proxy_temp_path %[2]s/proxy; scgi_temp_path %[2]s/scgi; uwsgi_temp_path %[2]s/uwsgi;
	server {
		listen %[3]s; root %[4]s; index index.php index.html; server_name localhost;
		location / { try_files $uri $uri/ /index.php?$query_string; }
		location ~ \.php(/|$) {
			fastcgi_split_path_info ^(.+?\.php)(/.*)$;
			include /etc/nginx/fastcgi_params;
			fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
			fastcgi_param PATH_INFO $fastcgi_path_info;
			fastcgi_param HTTP_PROXY "";
			fastcgi_pass unix:%[5]s;
		}
	}
}
`, account, dir, address, root, socket)
	write(t, filepath.Join(dir, "nginx.conf"), config)
	cmd := exec.Command(program, "-c", filepath.Join(dir, "nginx.conf"), "-p", dir)
	var said testenv.Log
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	testenv.Eventually(t, "nginx listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}

// askRaw sends those bytes and returns the answer.
func askRaw(t *testing.T, address, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	return response, string(body)
}

// Scripts find what they would find under nginx, to the letter; forget has the exceptions.
func TestClassicIsNginx(t *testing.T) {
	t.Parallel()
	root := testenv.Dir(t)
	for _, name := range []string{"index.php", "other.php", "sub/index.php", "with space.php"} {
		write(t, filepath.Join(root, name), everythingPHP)
	}
	socket := runFPM(t)
	w := setup(t, "", func(cfg *php.Config, _ *php.Options) {
		*cfg = classicConfig(t, "php-cgi")
		cfg.Command, cfg.Root, cfg.FastCGI = nil, root, "unix://"+socket
	})
	edge, nginx := w.server.Listener.Addr().String(), runNginx(t, root, socket)

	form := "Content-Type: application/x-www-form-urlencoded\r\n"
	body := func(head, content string) string {
		return fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(content), content)
	}
	part := func(head, content string) string {
		return "--b\r\nContent-Disposition: form-data; " + head + "\r\n\r\n" + content + "\r\n"
	}
	multipart := "Content-Type: multipart/form-data; boundary=b\r\n"
	for name, request := range map[string]string{
		"the root":            "GET / ",
		"a page":              "GET /some/page ",
		"a query":             "GET /page?a=1&b[]=2&b[]=3&c[x][y]=4&d.e=5&f+g=6&h=%20+&i&=j&k=%00l ",
		"a broken query":      "GET /page?%zz&%&a=%f&b=%ff&[c]=1&d[=2&e]=3&f[[g]]=4 ",
		"questions":           "GET /page??a=1?b ",
		"an empty query":      "GET /other.php? ",
		"an option":           "GET /other.php?-s ",
		"a script":            "GET /other.php ",
		"a script with info":  "GET /other.php/a/b?c=d ",
		"info with a slash":   "GET /other.php/ ",
		"encoded info":        "GET /other.php/a%20b/%C3%A9 ",
		"a folder":            "GET /sub/ ",
		"a script below":      "GET /sub/index.php ",
		"the front by name":   "GET /index.php/route?x=y ",
		"encoded":             "GET /caf%C3%A9/%2Fx?q=%C3%A9 ",
		"raw bytes":           "GET /caf\xc3\xa9?q=\xc3\xa9 ",
		"percent":             "GET /100%25 ",
		"a plus":              "GET /a+b?c+d ",
		"dots":                "GET /a/./b/../c ",
		"slashes":             "GET /a//b ",
		"a space":             "GET /with%20space.php ",
		"semicolons":          "GET /a;b=c?d;e=f ",
		"quotes":              `GET /a"b'c?d="e' `,
		"a long path":         "GET /" + strings.Repeat("x", 2000) + " ",
		"delete":              "DELETE /item/1 ",
		"options":             "OPTIONS /item/1 ",
		"patch":               "PATCH /x|" + body("Content-Type: application/json\r\n", `{"a":1}`),
		"its own method":      "REPORT /x ",
		"cookies":             "GET /x|Cookie: a=1; b=2;c=3; d[e]=4; f=%20; a=9; g\r\n\r\n",
		"a login":             "GET /x|Authorization: Basic dXNlcjpwYTpzcw==\r\n\r\n",
		"a bearer":            "GET /x|Authorization: Bearer abc.def\r\n\r\n",
		"a digest":            "GET /x|Authorization: Digest username=\"u\", realm=\"r\"\r\n\r\n",
		"headers":             "GET /x|Accept: a/b;q=0.5, */*\r\nUser-Agent: a (b; c)\r\nReferer: http://x/?a\r\nX-Forwarded-For: 1.2.3.4\r\nX-Empty:\r\nx-lower:  spaces  \r\n\r\n",
		"long headers":        "GET /x|X-A: " + strings.Repeat("a", 127) + "\r\nX-B: " + strings.Repeat("b", 128) + "\r\nX-" + strings.Repeat("C", 126) + ": c\r\nX-D: " + strings.Repeat("d", 7000) + "\r\n\r\n",
		"raw header bytes":    "GET /x|X-A: \xe9\xff\r\n\r\n",
		"names of parameters": "GET /x|Script-Filename: /etc/passwd\r\nHttps: on\r\nRedirect-Status: 1\r\nPhp-Value: a=b\r\nRemote-Addr: 1.1.1.1\r\nHttp-Host: evil\r\n\r\n",
		"underscores":         "GET /x|X_Forwarded_For: 1\r\nContent_Length: 7\r\nRemote_Addr: 1.1.1.1\r\n\r\n",
		"a form":              "POST /x|" + body(form, "a=1&b[]=2&b[c]=3&d.e=4&f=%20+&%00=x&g"),
		"an empty form":       "POST /x|" + body(form, ""),
		"a put form":          "PUT /x|" + body(form, "a=1"),
		"raw":                 "POST /x|" + body("Content-Type: application/octet-stream\r\n", "\x00\x01\xff"),
		"no type":             "POST /x|" + body("", "a=1"),
		"a large body":        "POST /x|" + body("Content-Type: text/plain\r\n", strings.Repeat("0123456789", 30000)),
		"chunks":              "POST /x|" + form + "Transfer-Encoding: chunked\r\n\r\n3\r\na=1\r\n4\r\n&b=2\r\n0\r\n\r\n",
		"uploads": "POST /x|" + body(multipart, part(`name="a"; filename="a.txt"`+"\r\nContent-Type: text/plain", "content a")+
			part(`name="b[x][]"; filename="C:\dir\b.png"`, "\x00\xff")+part(`name="c"`, "field")+part(`name="d[]"`, "1")+part(`name="d[]"`, "2")+
			part(`name="e"; filename=""`, "")+"--b--\r\n"),
		"a broken upload": "POST /x|" + body(multipart, part(`name="a"; filename="a.txt"`, "content")+"--b"),
		"no boundary":     "POST /x|" + body("Content-Type: multipart/form-data\r\n", "a"),
	} {
		line, rest, with := strings.Cut(request, "|")
		if !with {
			rest = "\r\n"
		}
		text := strings.TrimSuffix(line, " ") + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + rest
		var answers [2]map[string]any
		var scripts [2]string
		for i, address := range []string{edge, nginx} {
			response, body := askRaw(t, address, text)
			if response.StatusCode != 200 {
				t.Errorf("%s: %s of %s: %.200q", name, response.Status, []string{"edge", "nginx"}[i], body)
			}
			if err := json.Unmarshal([]byte(body), &answers[i]); err != nil {
				t.Errorf("%s: %v: %.300q", name, err, body)
				continue
			}
			scripts[i] = response.Header.Get("X-Script")
			forget(answers[i]["server"].(map[string]any))
		}
		if diff := cmp.Diff(answers[1], answers[0]); diff != "" || scripts[0] != scripts[1] {
			t.Errorf("%s (-nginx %s +edge %s):\n%s", name, scripts[1], scripts[0], diff)
		}
	}
}

// forget takes out what cannot be the same, and what is not to be: a REMOTE_USER whose password nobody has looked at, and the
// chunks of a body that PHP gets in one piece.
func forget(server map[string]any) {
	for _, name := range []string{"REQUEST_TIME", "REQUEST_TIME_FLOAT", "REMOTE_PORT", "SERVER_PORT", "SERVER_SOFTWARE", "REMOTE_USER", "HTTP_TRANSFER_ENCODING"} {
		delete(server, name)
	}
	for name, value := range server {
		if value == "" {
			delete(server, name) // nginx sets what is empty, such as PATH_INFO and HTTP_PROXY; Edge leaves it out
		}
	}
}
