package core_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
)

// largeBody is what core/testdata/large.php answers.
func largeBody(size int) []byte {
	return bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
}

// TestLargeAnswers takes answers around the sizes at which they stay in the kernel, over every protocol, whole and in pieces of which
// a pipe holds few, with clients that take nothing but the head, and with clients that leave in the middle.
func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"large.php", "large-sdk.php"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			testLargeAnswers(t, edgetest.Start(t, `
http:
  middleware: [access-log]
  routes: [{php: app}]
`+phpApp(t, script, "codec: json")))
		})
	}
}

func testLargeAnswers(t *testing.T, s *edgetest.Server) {
	sizes := []int{0, 1, 8 << 10, 16 << 10, 24 << 10, 64 << 10, 100_001, 190 << 10, 199 << 10, 200 << 10, 201 << 10, 256 << 10, 1<<20 - 100, 1 << 20, 3 << 20}
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		var all sync.WaitGroup
		for _, size := range sizes {
			for _, query := range []string{"", "&piece=4096", "&piece=700"} {
				if size > 256<<10 && query != "" {
					continue
				}
				url := fmt.Sprintf("%s/?size=%d%s", m.URL, size, query)
				all.Go(func() {
					if err := fetchLarge(m.Client, url, size); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
		}
		res, err := m.Client.Head(m.URL + "/?size=65536")
		if err != nil || res.ContentLength != 65536 {
			t.Errorf("HEAD: %v, %v", res, err)
		}
		if err == nil {
			res.Body.Close()
		}
		for range 100 { // more than there are pipes: those of clients that left come back
			res, err := m.Client.Get(m.URL + "/?size=150000")
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadFull(res.Body, make([]byte, 10))
			res.Body.Close()
		}
		if err := fetchLarge(m.Client, m.URL+"/?size=150000", 150_000); err != nil {
			t.Error(err)
		}
	})
}

// TestLargeAnswersToSlowClients: clients that take their time share a server with others, whose answers come meanwhile.
func TestLargeAnswersToSlowClients(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{php: app}]}"+phpApp(t, "large.php", "codec: json"))
	s.Run(t, func(t *testing.T, m edgetest.Mode) {
		var all sync.WaitGroup
		for range 80 { // more than there are pipes
			all.Go(func() {
				res, err := m.Client.Get(m.URL + "/?size=190000")
				if err != nil {
					t.Error(err)
					return
				}
				defer res.Body.Close()
				want, got := largeBody(190_000), make([]byte, 0, 190_000)
				piece := make([]byte, 20_000)
				for {
					n, err := io.ReadFull(res.Body, piece)
					got = append(got, piece[:n]...)
					if err != nil {
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("a slow client got %d bytes of %d", len(got), len(want))
				}
			})
		}
		if err := fetchLarge(m.Client, m.URL+"/?size=65536", 64<<10); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
}

func fetchLarge(client *http.Client, url string, size int) error {
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s: after %d bytes: %w", url, len(got), err)
	}
	if !bytes.Equal(got, largeBody(size)) {
		return fmt.Errorf("%s: %s, %d bytes that are not the %d of the answer", url, res.Status, len(got), size)
	}
	if !strings.Contains(url, "&") && res.ContentLength != int64(size) {
		return fmt.Errorf("%s: Content-Length %d", url, res.ContentLength)
	}
	return nil
}
