package ratelimit_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

// server has two plugins of one policy, as two servers of a fleet would: they share the store, and neither memory nor instances.
const server = `
kv: {limits: {max_size: SIZE}}
http: {routes: [{match: {path: /one}, use: [one], respond: hi}, {match: {path: /two}, use: [two], respond: hi}]}
plugins:
  dir: ""
  modules:
    one: {file: FILE, config: CONFIG, allow: {kv: [limits]}}
    two: {file: FILE, config: CONFIG, allow: {kv: [limits]}}
`

func configuration(file, size, config string) string {
	return strings.NewReplacer("FILE", file, "SIZE", size, "CONFIG", config).Replace(server)
}

func get(t *testing.T, m edgetest.Mode, path, client string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if client != "" {
		req.Header.Set("X-Client", client)
	}
	res, _ := m.Do(t, req)
	return res
}

// limits reads RateLimit: what is left, and in how many seconds it will be all again.
func limits(t *testing.T, res *http.Response) (left, full int) {
	t.Helper()
	if _, err := fmt.Sscanf(res.Header.Get("Ratelimit"), `"default";r=%d;t=%d`, &left, &full); err != nil {
		t.Errorf("RateLimit %q: %v", res.Header.Get("Ratelimit"), err)
	}
	return left, full
}

// some says whether that many seconds are left of so many, on a machine that is as slow as can be.
func some(seconds, of int) bool { return seconds <= of && seconds > of-300 }

func TestNative(t *testing.T) {
	t.Parallel()
	plugintest.RustTests(t, "rate-limit")
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	file := plugintest.Rust(t, "rate-limit")

	t.Run("headers", func(t *testing.T) {
		t.Parallel()
		s := edgetest.Start(t, configuration(file, "1MiB", `{store: limits, limit: 3, window: 1h, key: "header:x-client"}`))
		s.Run(t, func(t *testing.T, m edgetest.Mode) {
			for i, path := range []string{"/one", "/two", "/one"} {
				res := get(t, m, path, m.Name)
				if left, full := limits(t, res); res.StatusCode != 200 || left != 2-i || !some(full, 1200*(i+1)) {
					t.Errorf("request %d: %d, RateLimit %q, want 200, %d left, full in %d s", i, res.StatusCode, res.Header.Get("Ratelimit"), 2-i, 1200*(i+1))
				}
				if policy := res.Header.Get("Ratelimit-Policy"); policy != `"default";q=3;w=3600` {
					t.Errorf("RateLimit-Policy = %q", policy)
				}
			}
			res := get(t, m, "/two", m.Name)
			after, _ := strconv.Atoi(res.Header.Get("Retry-After"))
			if left, full := limits(t, res); res.StatusCode != 429 || !some(after, 1200) || left != 0 || !some(full, 3600) {
				t.Errorf("past the limit: %d, Retry-After %d, RateLimit %q", res.StatusCode, after, res.Header.Get("Ratelimit"))
			}
			if res := get(t, m, "/two", "else-"+m.Name); res.StatusCode != 200 {
				t.Errorf("another client: %d, want 200", res.StatusCode)
			}
		})
	})

	t.Run("exact under load", func(t *testing.T) {
		t.Parallel()
		s := edgetest.Start(t, configuration(file, "1MiB", `{store: limits, limit: 40, window: 24h, on_store_error: deny}`))
		m := s.Modes(t)[0]
		var allowed, refused, other atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 15 {
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, m.URL+[]string{"/one", "/two"}[i%2], nil)
					res, err := m.Client.Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
					switch res.StatusCode {
					case 200:
						allowed.Add(1)
					case 429:
						refused.Add(1)
					default:
						other.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if allowed.Load() != 40 || refused.Load() != 80 {
			t.Errorf("of 120 requests at once %d were allowed, %d refused, %d neither; want 40, 80, 0", allowed.Load(), refused.Load(), other.Load())
		}
	})

	t.Run("without a client", func(t *testing.T) {
		t.Parallel()
		for config, want := range map[string]int{`allow`: 200, `deny`: 403, `address`: 429} {
			s := edgetest.Start(t, configuration(file, "1MiB", `{store: limits, limit: 1, window: 1h, key: "header:x-client", without_key: `+config+`}`))
			m := s.Modes(t)[0]
			get(t, m, "/one", "")
			if res := get(t, m, "/two", ""); res.StatusCode != want {
				t.Errorf("without_key %s: the second request got %d, want %d", config, res.StatusCode, want)
			}
		}
	})

	t.Run("store fails", func(t *testing.T) {
		t.Parallel()
		for policy, want := range map[string]int{"allow": 200, "deny": 503} {
			// A store without room takes no write.
			s := edgetest.Start(t, configuration(file, "1KiB", `{store: limits, limit: 100, key: "header:x-client", name: `+strings.Repeat("n", 64)+`, on_store_error: `+policy+`}`))
			m := s.Modes(t)[0]
			var res *http.Response
			for i := range 8 {
				res = get(t, m, "/one", fmt.Sprint("client", i))
			}
			if res.StatusCode != want || want == 503 && res.Header.Get("Retry-After") == "" {
				t.Errorf("on_store_error %s: %d %v, want %d", policy, res.StatusCode, res.Header, want)
			}
			if !strings.Contains(s.Log.String(), "the store answers too-large") {
				t.Error("the log does not say that the store failed")
			}
		}
	})

	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		for config, want := range map[string]string{
			`{limit: 1}`:                                          "config.store: is missing",
			`{store: limits}`:                                     "config.limit: is missing",
			`{store: other, limit: 1}`:                            `config.store: "other" cannot be opened (denied)`,
			`{store: limits, limit: 0}`:                           "config.limit: must be a whole number from 1 to 1000000",
			`{store: limits, limit: 1, window: 5}`:                "config.window: must be a text",
			`{store: limits, limit: 1, key: cookie}`:              `config.key: "cookie" is none of: address, header:NAME, variable:NAME, all`,
			`{store: limits, limit: 1, name: "a b"}`:              `config.name: "a b" is not`,
			`{store: limits, limit: 1, windows: 10s}`:             "config.windows: there is no such key",
			`{store: limits, limit: 1, window: 24h, burst: 1000}`: "config.burst: takes longer than a week",
		} {
			_, err := edgetest.TryStart(t, configuration(file, "1MiB", config))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nwant %q", config, err, want)
			}
		}
	})
}
