package httpserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// strange are requests beside those of the table of malformed ones that servers are known to read in different ways.
var strange = []string{
	"GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: .\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a.\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a:99999999999999999999\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: ::1]\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a%00b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a;b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: \xc3\xbc\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET / HTTP/1.0\r\nHost:\r\n\r\n",
	"GET / HTTP/1.0\r\nHost: a/b\r\n\r\n",
	"GET http://a..b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://a:80:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET http://a#x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET HTTP://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /../ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a/../../b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%2e%2e%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a%0d%0ab HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /?%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /\\..\\x HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a;b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /\x80\xff HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
	"G / HTTP/1.1\r\nHost: a\r\n\r\n",
	"_-_ / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET1 / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.9\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.01\r\nHost: a\r\n\r\n",
	"GET / HTTP/01.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX-\x80: y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX(): y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n\tX: y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX\r\n: y\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3,3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3;\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3.0\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \"3\"\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\x0b\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunk\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x00chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 x\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3_0\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n;\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nabc\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: y 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
}

// ofNoConsequence are what nginx refuses, and this package passes on or answers: paths that climb are refused before the routes, in
// core, TRACE behind the plugins, which may see it, and OPTIONS * is answered here as RFC 9110 says.
var ofNoConsequence = []string{"GET /../ ", "GET /a/../../b ", "GET /%2e%2e", "OPTIONS * ", "TRACE "}

// TestNothingThatNginxRefuses is taken here, or what stands in front of Edge and Edge itself read different requests.
func TestNothingThatNginxRefuses(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t)
	edge := start(t, readAllHandler)
	requests := strange
	for _, c := range malformed {
		requests = append(requests, c.request)
	}
	refused := 0
	for _, request := range requests {
		theirs, ours := statusOf(t, nginx, request), statusOf(t, edge.plain, request)
		if theirs < 400 {
			continue
		}
		refused++
		if ours < 400 && !slices.ContainsFunc(ofNoConsequence, func(p string) bool { return strings.HasPrefix(request, p) }) {
			t.Errorf("%.200q: nginx answers %d, Edge %d", request, theirs, ours)
		}
	}
	if refused < 60 {
		t.Errorf("nginx has refused %d of %d requests only", refused, len(requests))
	}
}

// statusOf is 400 when the server says nothing before it closes.
func statusOf(t *testing.T, address, request string) int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, request)
	_ = conn.(*net.TCPConn).CloseWrite()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return http.StatusBadRequest
		}
		status := 0
		if _, err := fmt.Sscanf(line, "HTTP/1.1 %d", &status); err == nil && status >= 200 {
			return status
		}
	}
}

// startNginx runs nginx in front of a server that takes everything, and returns its address.
func startNginx(t *testing.T) string {
	t.Helper()
	program := testenv.Tool(t, "nginx", "apt install nginx-light")
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	t.Cleanup(origin.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()
	dir := testenv.Dir(t)
	conf := filepath.Join(dir, "nginx.conf")
	text := strings.NewReplacer("DIR", dir, "ADDRESS", address, "ORIGIN", origin.URL).Replace(`
daemon off;
master_process off;
pid DIR/pid;
error_log stderr emerg;
events {}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	scgi_temp_path DIR/scgi;
	uwsgi_temp_path DIR/uwsgi;
	server {
		listen ADDRESS;
		location / {
			proxy_ignore_client_abort on;
			proxy_set_header Connection "";
			proxy_set_header Host origin;
			proxy_http_version 1.1;
			proxy_pass ORIGIN/?;
		}
	}
}`)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	testenv.Eventually(t, "nginx answers", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address
}
