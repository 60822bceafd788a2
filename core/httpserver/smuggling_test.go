package httpserver_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// spellings are ways to write Transfer-Encoding: chunked that one reader takes for it and another does not.
var spellings = []string{
	"Transfer-Encoding: chunked", "Transfer-Encoding:chunked", "Transfer-Encoding:  chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: chunked ",
	"Transfer-Encoding: chunked\t", "transfer-encoding: Chunked", "Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked",
	"\tTransfer-Encoding: chunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: \x0cchunked", "Transfer-Encoding: chunked\x0b", "Transfer-Encoding:\x00chunked",
	"Transfer-Encoding: chunked\x00", "Transfer-Encoding:\r\n chunked", "Transfer-Encoding:\r\n\tchunked", "Transfer-Encoding:\n chunked", "Transfer-Encoding:\rchunked",
	"Transfer-Encoding: chunked\r", "Transfer-Encoding: chun\r\n ked", "X: y\nTransfer-Encoding: chunked", "X: y\rTransfer-Encoding: chunked",
	"X: y\r\n\rTransfer-Encoding: chunked", "X: y\r\r\nTransfer-Encoding: chunked", "Transfer_Encoding: chunked", "Transfer-Encoding\xa0: chunked",
	"Transfer-Encoding: chunked, chunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: gzip, chunked",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
	"Transfer-Encoding: chunked\r\nTransfer-Encoding:", "Transfer-Encoding:\r\nTransfer-Encoding: chunked", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked'",
	"Transfer-Encoding: chunked;q=1", "Transfer-Encoding: x=chunked", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunkedx", "Transfer-Encoding: cow",
	"Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,", "Transfer-Encoding: , ,chunked", "Transfer-Encoding: [chunked]", "Transfer-Encoding: \xefchunked",
	"Transfer-Encoding: ch\u00fcnked", "Transfer-Encoding", "Transfer-Encoding;: chunked", "Transfer-Encoding:: chunked", ":Transfer-Encoding: chunked",
	"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding", "Foo: bar\r\n Transfer-Encoding: chunked", "Transfer-\r\nEncoding: chunked",
}

// lengths are ways to write a Content-Length of 5.
var lengths = []string{
	"Content-Length: 5", "Content-Length:5", "Content-Length: 05", "Content-Length: +5", "Content-Length: -5", "Content-Length: 5 ", "Content-Length: \t5", "Content-Length: 5,5",
	"Content-Length: 5, 5", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 0", "Content-Length: 0\r\nContent-Length: 5", "Content-Length: 5;",
	"Content-Length: 5 5", "Content-Length: 0x5", "Content-Length: 5e0", "Content-Length: 5.0", "Content-Length: \"5\"", "Content-Length : 5", " Content-Length: 5",
	"Content-Length:\r\n 5", "Content-Length: 5\x00", "Content-Length: 5\x0b", "Content_Length: 5", "Content-Length: \u0665", "Content-Length: 18446744073709551621",
	"Content-Length: 99999999999999999999999999999999999999995", "Content-Length: 00000000000000000000000000000000000005", "Content-Length:", "Content-Length: five",
	"X: y\nContent-Length: 5", "X: y\rContent-Length: 5", "Content-Length: 5\rX: y", "Content-Length: 5\r\n\tContent-Length: 0", "Connection: Content-Length\r\nContent-Length: 5",
}

// chunkings are ways to write a chunked body that ends.
var chunkings = []string{
	"5\r\nhello\r\n0\r\n\r\n", "5;x\r\nhello\r\n0\r\n\r\n", "5;x=y\r\nhello\r\n0\r\n\r\n", "5;x=\"y\"\r\nhello\r\n0\r\n\r\n", "5;x=\"\r\nhello\r\n0\r\n\r\n", "5;\r\nhello\r\n0\r\n\r\n",
	"5 ;x\r\nhello\r\n0\r\n\r\n", "5\t\r\nhello\r\n0\r\n\r\n", "05\r\nhello\r\n0\r\n\r\n", "00000000000000000005\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
	"5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\n0\n\r\n", "5\r\nhello\r\n0\r\n\n", "5\rhello\r\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\r\nhello\r\n0\r\n\r\n",
	"5;a\nb\r\nhello\r\n0\r\n\r\n", "5;a\rb\r\nhello\r\n0\r\n\r\n", "5;a\x00b\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n",
	" 5\r\nhello\r\n0\r\n\r\n", "5 5\r\nhello\r\n0\r\n\r\n", "5g\r\nhello\r\n0\r\n\r\n", "g\r\nhello\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n", "100000005\r\nhello\r\n0\r\n\r\n",
	"10000000000000005\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n", "8000000000000000\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n00\r\n\r\n", "5\r\nhello\r\n0;x\r\n\r\n",
	"5\r\nhello\r\n0\r\nX: y\r\n\r\n", "5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\n X: y\r\n\r\n", "5\r\nhello\r\n0\r\nX\r\n\r\n", "5\r\nhello\r\n0\r\n: y\r\n\r\n",
	"5\r\nhello\r\n0\r\nX: y\n\r\n", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nhello\r\n0\r\nHost: b\r\n\r\n", "5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n",
	"5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhell\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n",
}

// heads are lines of a request without a body, and what may go wrong with them.
var heads = []string{
	"GET / HTTP/1.1\r\nHost: a\r\nHost: a", "GET / HTTP/1.1\r\nHost: a\r\nHost: b", "GET / HTTP/1.1\r\nHost: a\r\nhost: b", "GET / HTTP/1.1\r\nHost: a\r\n Host: b", "GET / HTTP/1.1\r\nHost : a",
	"GET / HTTP/1.1\r\nHost: a\r\nHost:", "GET / HTTP/1.1\r\nHost: a, b", "GET / HTTP/1.1\r\nHost: a\x00b", "GET / HTTP/1.1\r\nHost: a\tb", "GET / HTTP/1.1\r\nX: y\r\n Host: a",
	"GET http://b/ HTTP/1.1\r\nHost: a", "GET http://b HTTP/1.1\r\nHost: a", "GET http://b:80/ HTTP/1.1\r\nHost: a", "GET https://b/ HTTP/1.1\r\nHost: a", "GET http://b/ HTTP/1.1\r\nHost: a\r\nHost: b",
	"GET http:/// HTTP/1.1\r\nHost: a", "GET http://a b/ HTTP/1.1\r\nHost: a", "GET http://u:p@a/ HTTP/1.1\r\nHost: a", "GET http://a#x/ HTTP/1.1\r\nHost: a", "GET //a/b HTTP/1.1\r\nHost: b",
	"GET http://a\\b/ HTTP/1.1\r\nHost: a", "GET htp://a/ HTTP/1.1\r\nHost: a", "GET :80 HTTP/1.1\r\nHost: a", "GET a:80 HTTP/1.1\r\nHost: a", "GET http://[::1]/ HTTP/1.1\r\nHost: a",
	"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz", "GET / HTTP/1.1\r\nHost: a\r\nX: y\n z", "GET / HTTP/1.1\r\nHost: a\r\nX:\x00", "GET / HTTP/1.1\r\nHost: a\r\nX\x00: y",
	"GET / HTTP/1.1\r\nHost: a\r\nX: y\rZ: z", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r", "GET / HTTP/1.1\rHost: a", "GET / HTTP/1.1\nHost: a", "GET /\x00 HTTP/1.1\r\nHost: a", "GET\x00 / HTTP/1.1\r\nHost: a",
	"GET / HTTP/1.1\x00\r\nHost: a", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z", "GET / HTTP/1.1\r\nHost: a\r\n\x0bX: y", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f", "GET / HTTP/1.1\r\nHost: a\r\nX@: y",
	"GET /  HTTP/1.1\r\nHost: a", "GET  / HTTP/1.1\r\nHost: a", "GET / HTTP/1.1 x\r\nHost: a", "GET / HTTP/1.1\r\n\r\nHost: a", "GET / HTTP/ 1.1\r\nHost: a", "GET / HTTP/1.1.1\r\nHost: a", "GET / HTTP/-1.1\r\nHost: a",
	"GET / HTTP/1,1\r\nHost: a", "GET / HTTPS/1.1\r\nHost: a", "GET / HTTP/3.0\r\nHost: a", "GET / http/1.1\r\nHost: a", "GET /\tHTTP/1.1\r\nHost: a", "GET\u00a0/ HTTP/1.1\r\nHost: a", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Host", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 70<<10), "GET /" + strings.Repeat("y", 70<<10) + " HTTP/1.1\r\nHost: a",
	"GET / HTTP/1.1\r\nHost: a" + strings.Repeat("\r\nX: y", 15_000), "CONNECT a:80 HTTP/1.1\r\nHost: a:80", "CONNECT / HTTP/1.1\r\nHost: a", "GET * HTTP/1.1\r\nHost: a", "GET # HTTP/1.1\r\nHost: a",
}

// ambiguous is all of that as requests that each end, so far as anybody can tell.
func ambiguous() []string {
	var all []string
	const body = "5\r\nhello\r\n0\r\n\r\n"
	for _, te := range spellings {
		all = append(all, "POST / HTTP/1.1\r\nHost: a\r\n"+te+"\r\n\r\n"+body)
		all = append(all, fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n\r\n%s", len(body), te, body))
		all = append(all, "POST / HTTP/1.1\r\nHost: a\r\n"+te+"\r\nContent-Length: 4\r\n\r\n"+body)
		all = append(all, "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n"+te+"\r\n\r\n"+body)
	}
	for _, cl := range lengths {
		all = append(all, "POST / HTTP/1.1\r\nHost: a\r\n"+cl+"\r\n\r\nhello", "GET / HTTP/1.1\r\nHost: a\r\n"+cl+"\r\n\r\nhello")
	}
	for _, chunks := range chunkings {
		all = append(all, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks)
	}
	for _, head := range heads {
		all = append(all, head+"\r\n\r\n")
	}
	return all
}

// TestReadsWhatNginxReads: nothing that nginx refuses is taken, and of what both take, both read as many requests: where they differed, one
// of them would take what a client has put into a body for a request of somebody else.
func TestReadsWhatNginxReads(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t)
	edge := start(t, readAllHandler)
	requests := ambiguous()
	refused, both := 0, 0
	for _, request := range requests {
		theirs, ours := statusesOf(t, nginx, request+next), statusesOf(t, edge.plain, request+next)
		switch {
		case theirs[0] >= 400:
			refused++
			if ours[0] < 400 && !slices.ContainsFunc(ofNoConsequence, func(p string) bool { return strings.HasPrefix(request, p) }) {
				t.Errorf("%.200q: nginx answers %v, Edge %v", request, theirs, ours)
			}
		case ours[0] < 400:
			both++
			if !slices.Equal(accepted(theirs), accepted(ours)) {
				t.Errorf("%.200q: nginx reads %v, Edge %v", request, theirs, ours)
			}
		}
	}
	t.Logf("%d requests: nginx has refused %d, both have taken %d", len(requests), refused, both)
	if len(requests) < 300 || refused < 150 || both < 20 {
		t.Errorf("of %d requests nginx has refused %d, and both have taken %d", len(requests), refused, both)
	}
}

// next follows each of them on its connection.
const next = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// accepted are the statuses of requests that were taken.
func accepted(statuses []int) []int {
	return slices.DeleteFunc(slices.Clone(statuses), func(s int) bool { return s >= 400 })
}

// statusesOf sends text and reads all answers. A server that closes without a word says 400.
func statusesOf(t *testing.T, address, text string) []int {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(conn, text)
	_ = conn.(*net.TCPConn).CloseWrite()
	in := bufio.NewReader(conn)
	var list []int
	for {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		_, err = io.Copy(io.Discard, res.Body)
		if res.StatusCode >= 200 {
			list = append(list, res.StatusCode)
		}
		if err != nil {
			break
		}
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return []int{http.StatusBadRequest}
	}
	return list
}

// TestMalformedRequestsLeaveNothing behind: no connection hangs, no goroutine stays, and memory does not grow with their number.
func TestMalformedRequestsLeaveNothing(t *testing.T) {
	w := start(t, readAllHandler)
	requests := ambiguous()
	for _, c := range malformed {
		requests = append(requests, c.request)
	}
	round := func() {
		for _, request := range requests {
			statusesOf(t, w.plain, request)
		}
	}
	settled := func() uint64 {
		testenv.Eventually(t, "no connection is left", func() bool { return w.Stats().Listeners[0].Open == 0 })
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	round()
	before := settled()
	rounds := testenv.Count(5, 200)
	for range rounds {
		round()
	}
	after := settled()
	t.Logf("%d malformed and strange requests: %d KiB of heap before, %d KiB after", rounds*len(requests), before>>10, after>>10)
	if after > before+8<<20 {
		t.Errorf("the heap has grown from %d to %d KiB", before>>10, after>>10)
	}
}
