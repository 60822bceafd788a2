package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestBarsStandBesideWhatWasMeasured(t *testing.T) {
	t.Parallel()
	one := func(name string, perSec float64, cpu time.Duration) result {
		return result{target{Name: name}, []sample{{
			wrkResult: wrkResult{requests: 1000, perSec: perSec}, local: true, serverCPU: cpu, rssKiB: 40_000,
		}}}
	}
	results := []result{one(edgePHP, 50_000, 20*time.Millisecond), one(nginxFPM, 25_000, 0), one(bareGo, 90_000, 10*time.Millisecond)}
	at := func(connections int) measurement {
		return measurement{scenario: scenarios[0], load: load{connections: connections}, results: results}
	}
	got := barSection([]measurement{at(64), at(16)})
	for _, want := range []string{
		"| hello, plain sdk/php: throughput (16 connections) | `edge-php` | `nginx-fpm` | ≥ 1.80 | 2.00 | yes |\n",
		"| hello, plain sdk/php: server CPU per request (16 connections) | `edge-php` | `bare-go` | ≤ 2.20 | 2.00 | yes |\n",
		"| hello, PSR-7: throughput (16 connections) | `edge-psr7` | `nginx-fpm` | ≥ 1.30 | – | not measured |\n",
		"| memory of the server under load, MB (16 connections) | `edge-php` | – | ≤ 30.00 | 40.96 | **no** |\n",
	} {
		if got.key != "bars" || !strings.Contains(got.text, want) {
			t.Errorf("the bars lack %q:\n%s", want, got.text)
		}
	}
}

// Every bar names what exists; a typing error would never be measured.
func TestBarsAreMeasured(t *testing.T) {
	t.Parallel()
	opts, err := parseOptions(nil, noEnvironment, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range bars {
		found := slices.ContainsFunc(opts.measurements(), func(m measurement) bool {
			return m.scenario.Name == x.scenario && m.load.connections == x.connections && slices.Contains(m.targets, x.target) &&
				(x.against == "" || slices.Contains(m.targets, x.against))
		})
		if !found {
			t.Errorf("no measurement of a full run shows the bar %q", x.what)
		}
	}
}
