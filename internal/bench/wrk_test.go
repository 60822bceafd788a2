package main

import (
	"strings"
	"testing"
	"time"
)

const wrkOutput = `Running 5s test @ http://127.0.0.1:8080/hello
  2 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   660.74us  312.55us   9.94ms   88.52%
    Req/Sec    12.37k     1.10k   14.43k    70.00%
  Latency Distribution
     50%  629.00us
     75%  740.00us
     90%    0.91ms
     99%    1.77ms 
  123040 requests in 5.00s, 21.12MB read
Requests/sec:  24601.52
Transfer/sec:      4.22MB
`

func TestParseWrk(t *testing.T) {
	t.Parallel()
	got, err := parseWrk(wrkOutput)
	want := wrkResult{requests: 123040, perSec: 24601.52, p50: 629 * time.Microsecond, p99: 1770 * time.Microsecond}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestParseWrkRefusesFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ replace, by, want string }{
		"status":   {"Requests/sec:", "  Non-2xx or 3xx responses: 7\nRequests/sec:", "requests failed: Non-2xx or 3xx responses: 7"},
		"sockets":  {"Requests/sec:", "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec:", "read 3"},
		"idle":     {"123040 requests", "0 requests", "not one request"},
		"no p99":   {"     99%    1.77ms \n", "", "no line matches"},
		"bad time": {"629.00us", "-nan", "is not a time"},
	} {
		_, err := parseWrk(strings.Replace(wrkOutput, test.replace, test.by, 1))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestParseWrkTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0.00us": 0, "629.00us": 629 * time.Microsecond, "1.77ms": 1770 * time.Microsecond, "2.00s": 2 * time.Second, "1.50m": 90 * time.Second,
	} {
		if got, err := parseWrkTime(text); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
}

func FuzzParseWrk(f *testing.F) {
	f.Add(wrkOutput)
	f.Add("Requests/sec: 1")
	f.Fuzz(func(t *testing.T, out string) {
		r, err := parseWrk(out)
		if err == nil && (r.requests == 0 || r.p50 < 0 || r.p99 < 0 || r.perSec < 0) {
			t.Errorf("accepted %+v", r)
		}
	})
}
