package main

import (
	"math"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestReport(t *testing.T) {
	t.Parallel()
	runs := func(local bool, perSec ...float64) []sample {
		var list []sample
		for _, v := range perSec {
			list = append(list, sample{
				wrkResult: wrkResult{requests: 1000, perSec: v, p50: 500 * time.Microsecond, p99: 2 * time.Millisecond},
				local:     local, serverCPU: 20 * time.Millisecond, phpCPU: 30 * time.Millisecond, rssKiB: 10_000,
			})
		}
		return list
	}
	results := []result{
		{target{Name: "edge", About: "Edge"}, runs(true, 30_000, 50_000, 40_000)},
		{target{Name: nginxFPM, About: "nginx"}, runs(true, 20_000, 19_000, 21_000)},
		peerResult(runs(false, 1_234_567)),
	}
	l := load{connections: 16, threads: 2, duration: time.Second}
	m := measurement{scenario: scenarios[0], load: l, results: results}
	got := newSection(m, options{runs: 3, load: l}, "A machine.", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))

	if got.key != "hello c=16" {
		t.Errorf("key is %q", got.key)
	}
	for _, want := range []string{
		"2026-01-02. A machine.\n",
		"| `edge`: Edge | 40,000 | 2.00 | – | 500 | 2,000 | 20.0 | – | 30.0 | 10.2 |\n",
		"| `nginx-fpm`: nginx | 20,000 | 1.00 | – | 500 | 2,000 | 20.0 | – | 30.0 | 10.2 |\n",
		"| `p`: by address, http://127.0.0.1:81 | 1,234,567 | 61.73 | – | 500 | 2,000 | – | – | – | – |\n",
		"| `edge` | 30,000 / 40,000 / 50,000 | 500 / 500 / 500 | 2,000 / 2,000 / 2,000 | 20.0 / 20.0 / 20.0 | 30.0 / 30.0 / 30.0 | 10.2 / 10.2 / 10.2 |\n",
		"wrk -t2 -c16 -d1s --timeout 10s --latency URL\n",
	} {
		if !strings.Contains(got.text, want) {
			t.Errorf("the report lacks %q:\n%s", want, got.text)
		}
	}
}

func peerResult(samples []sample) result {
	p := peer{"p", &url.URL{Scheme: "http", Host: "127.0.0.1:81"}}
	return result{p.target(), samples}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	of := func(values ...float64) spread {
		var r result
		for _, v := range values {
			r.samples = append(r.samples, sample{wrkResult: wrkResult{perSec: v}})
		}
		return r.spread(perSecond)
	}
	if got, want := of(3, 1, 2), (spread{1, 2, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := of(4, 1, 2, 9), (spread{1, 3, 9}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestFormatNumber(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]float64{"0": 0, "999": 999, "1,000": 1000, "24,601": 24601.4, "1,234,568": 1234567.8, "–": math.NaN()} {
		if got := formatNumber(v, 0); got != want {
			t.Errorf("%v is written %q, want %q", v, got, want)
		}
	}
	if got := formatNumber(1234.56, 1); got != "1,234.6" {
		t.Errorf("got %q", got)
	}
}
