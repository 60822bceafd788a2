package httpserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// malformed lists requests that two readers may understand in two ways, or that are plainly wrong, and valid ones that look
// like them. status is the answer; the connection must be closed after every answer of 400 and above.
var malformed = []struct {
	name    string
	request string
	status  int
}{
	// Framing: what smuggling is made of.
	{"CL then TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE then CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400},
	{"CL and TE in other case", "POST / HTTP/1.1\r\nHost: a\r\ncONTENT-lENGTH: 5\r\ntRANSFER-eNCODING: chunked\r\n\r\n0\r\n\r\n", 400},
	{"CL 0 and TE", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE on HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE identity on HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: identity\r\n\r\n", 400},
	{"TE and CL on HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400},
	{"CL twice, equal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
	{"CL twice, different", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
	{"CL list", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400},
	{"CL with plus", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400},
	{"CL negative", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc", 400},
	{"CL hexadecimal", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", 400},
	{"CL empty", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400},
	{"CL with space inside", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 3\r\n\r\nabc", 400},
	{"CL too large", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\nabc", 400},
	{"CL overflow", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551619\r\n\r\nabc", 400},
	{"CL with space before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\nabc", 400},
	{"CL with tab before colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 3\r\n\r\nabc", 400},
	{"CL padded beyond all measure", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:" + strings.Repeat(" ", 600) + "3\r\n\r\nabc", 400},
	{"CL with tabs around", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \t3 \t\r\n\r\nabc", 400},
	{"TE with tab in front", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", 400},
	{"TE with tab behind", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n", 400},
	{"CL folded", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 3\r\n\r\nabc", 400},
	{"TE twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE twice, one odd", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400},
	{"TE list", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
	{"TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501},
	{"TE chunked and more", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;x=y\r\n\r\n0\r\n\r\n", 501},
	{"TE with vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400},
	{"TE quoted", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 501},
	{"TE empty", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501},
	{"TE with space before colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE folded", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
	{"TE behind a folded header", "POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n", 400},
	{"TE behind a bare CR", "POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n", 400},
	{"TE behind a bare LF", "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},

	// Chunks. The handler answers 400 when its body ends in an error.
	{"chunk size missing", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk size with 0x", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk size negative", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk size with space before", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 3\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk size overflow", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk size huge", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk line with bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400},
	{"chunk line with bare CR", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a\rb\r\nabc\r\n0\r\n\r\n", 400},
	{"chunk data longer than said", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
	{"chunk data ends in LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", 400},
	{"last chunk ends in LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n\n", 400},
	{"chunk extension without end", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;" + strings.Repeat("x", 600) + "\r\nabc\r\n0\r\n\r\n", 400},
	{"trailer without colon", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n", 400},
	{"trailer with bare LF", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"trailer with CL", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n", 400},
	{"trailer with underscore", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX_Sum: 3\r\n\r\n", 400},
	{"trailer folded", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n c\r\n\r\n", 400},
	{"trailers too many", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 800) + "\r\n", 400},
	{"trailer announced for CL", "POST / HTTP/1.1\r\nHost: a\r\nTrailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},

	// Lines and characters.
	{"head with bare LF", "GET / HTTP/1.1\nHost: a\n\n", 400},
	{"head ends in bare LF", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
	{"head ends in CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", 400},
	{"value with NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400},
	{"value with control character", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400},
	{"value with DEL", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x7fb\r\n\r\n", 400},
	{"value with bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400},
	{"header without colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400},
	{"header without name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", 400},
	{"name with space", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400},
	{"name with NUL", "GET / HTTP/1.1\r\nHost: a\r\nX\x00: z\r\n\r\n", 400},
	{"name with umlaut", "GET / HTTP/1.1\r\nHost: a\r\nX\xc3\xbc: z\r\n\r\n", 400},
	{"name with brackets", "GET / HTTP/1.1\r\nHost: a\r\nX[]: z\r\n\r\n", 400},
	{"first header folded", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", 400},
	{"folded with tab", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n", 400},
	{"empty folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n \r\n\r\n", 400},

	// Request lines.
	{"lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method with punctuation", "GE!T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"method with NUL", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"no method", " / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"tab for space", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
	{"HTTP/0.9", "GET /\r\n", 400},
	{"HTTP/0.9 with version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505},
	{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
	{"HTTP/11.1", "GET / HTTP/11.1\r\nHost: a\r\n\r\n", 400},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400},
	{"HTTP/1", "GET / HTTP/1\r\nHost: a\r\n\r\n", 400},
	{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400},
	{"target without slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with control character", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with bare CR", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with broken escape", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"target with NUL", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"asterisk with GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form without host", "GET http:/x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form without slashes", "GET http:x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form with user", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501},
	{"CONNECT with path", "CONNECT /x HTTP/1.1\r\nHost: a:443\r\n\r\n", 501},
	{"empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"TLS hello", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400},
	{"spoilt preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n\r\n\r\n", 400},
	{"spoilt preface without line end", "PRI * HTTP/2.0\r\n\r\nSMXXXXXXXXXXX", 400},
	{"preface with headers", "PRI * HTTP/2.0\r\nHost: a\r\n\r\nSM\r\n\r\n", 400},
	{"PRI on HTTP/1.1", "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", 400},

	// Host.
	{"no host", "GET / HTTP/1.1\r\n\r\n", 400},
	{"empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
	{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
	{"host with slash", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
	{"host with space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
	{"host without name", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
	{"host with empty label", "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", 400},
	{"host that is a dot", "GET / HTTP/1.1\r\nHost: .\r\n\r\n", 400},
	{"host with odd port", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", 400},
	{"host with two ports", "GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", 400},
	{"host with half a bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
	{"host with something behind brackets", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
	{"absolute form with empty label", "GET http://a..b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"absolute form without name", "GET http://:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
	{"host with user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},

	// Size.
	{"long head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
	{"long target", "GET /" + strings.Repeat("x", 80<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 431},
	{"unknown expectation", "POST / HTTP/1.1\r\nHost: a\r\nExpect: miracle\r\nContent-Length: 1\r\n\r\nx", 417},

	// Valid, if rare.
	{"plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
	{"host that is an address", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", 200},
	{"host with the root's dot", "GET / HTTP/1.1\r\nHost: a_b.example.:80\r\n\r\n", 200},
	{"HTTP/1.0 without host", "GET / HTTP/1.0\r\n\r\n", 200},
	{"HTTP/1.2 is a kind of 1.1", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 200},
	{"CL with zeros in front", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\n\r\nabc", 200},
	{"CL with spaces around", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:   3 \r\n\r\nabc", 200},
	{"TE in capitals", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
	{"TE with GET", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
	{"chunk extensions", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0;c\r\n\r\n", 200},
	{"chunk size with spaces behind", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n003  \r\nabc\r\n0\r\n\r\n", 200},
	{"trailer", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n", 200},
	{"headers that begin like framing", "GET / HTTP/1.1\r\nHost: a\r\nContent-Lengthy: x\r\nTransfer-Encodings: y\r\nC: d\r\nT: u\r\n\r\n", 200},
	{"absolute form", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", 200},
	{"rare method", "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", 200},
	{"value with bytes above 127", "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xbc\r\n\r\n", 200},
	{"target with bytes above 127", "GET /\xc3\xbc HTTP/1.1\r\nHost: a\r\n\r\n", 200},
}

func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler)
	if len(malformed) < 130 {
		t.Fatalf("the table has %d entries", len(malformed))
	}
	for _, pieces := range []struct {
		name string
		size int
	}{{"at once", 1 << 20}, {"in pieces of 7", 7}, {"byte by byte", 1}} {
		for _, c := range malformed {
			t.Run(c.name+" "+pieces.name, func(t *testing.T) {
				if len(c.request) > 10_000 && pieces.size < 100 {
					return // too slow for what it shows
				}
				conn := w.dial(t)
				// What follows must never be read as a request of its own.
				request := c.request + "GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
				if c.status < 400 {
					request = c.request
				}
				for piece := range chunks(request, pieces.size) {
					if _, err := io.WriteString(conn, piece); err != nil {
						break // refused before the end
					}
				}
				res, body := conn.response()
				if res.StatusCode != c.status {
					t.Fatalf("got %s %q, want %d", res.Status, body, c.status)
				}
				if c.status >= 400 {
					conn.closed()
					return
				}
				if strings.Contains(c.request, "HTTP/1.0") {
					return
				}
				conn.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
				if _, body := conn.response(); body != "GET /next 0" {
					t.Errorf("the next request got %q", body)
				}
			})
		}
	}
	if refused := w.Stats().Refused["out_of_step"]; refused != 0 {
		t.Errorf("scanner and net/http were out of step %d times", refused)
	}
}

// readAllHandler answers with method, target and length of the body, or with 400 when the body is broken.
func readAllHandler(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, n)
}

// chunks cuts text into pieces of size bytes.
func chunks(text string, size int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(text) > 0 {
			n := min(size, len(text))
			if !yield(text[:n]) {
				return
			}
			text = text[n:]
		}
	}
}

func TestRefusalsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler)
	c := w.dial(t)
	c.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" +
		"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody" +
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n" +
		"POST /4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" +
		"GET /5 HTTP/1.1\r\nHost: a\r\n\r\n")
	for _, want := range []string{"GET /1 0", "POST /2 4", "POST /3 4"} {
		if _, got := c.response(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if res, _ := c.response(); res.StatusCode != http.StatusBadRequest {
		t.Errorf("the fourth request got %s", res.Status)
	}
	c.closed()
	if n := w.Stats().Refused["content_length_and_transfer_encoding"]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

func TestRefusalReachesAClientThatStillSends(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler)
	c := w.dial(t)
	c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 32768\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("x", 32768))
	if res, _ := c.response(); res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", res.Status)
	}
}

func TestPrefaceWithoutH2C(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler, func(c *Config) { c.Listen[0].H2C = false })
	c := w.dial(t)
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	if res, _ := c.response(); res.StatusCode != http.StatusBadRequest {
		t.Errorf("got %s", res.Status)
	}
	c.closed()
}
