package httpserver_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestGoAway: what has begun goes on, what is new comes by a new connection, and nothing is lost meanwhile.
func TestGoAway(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	big := bytes.Repeat([]byte("x"), 300_000)
	w := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-release
			w.Write(big)
			return
		}
		io.WriteString(w, r.RemoteAddr)
	})
	modes := w.modes()
	before := map[string]string{}
	bodies := make(chan int, len(modes))
	for _, m := range modes {
		_, before[m.name] = get(t, m.client, m.url)
		go func() { // ends with its answer
			res, err := m.client.Get(m.url + "/slow")
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				bodies <- 0
				return
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
			bodies <- len(body)
		}()
		<-entered
	}
	began := time.Now()
	if err := w.GoAway(t.Context()); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 50*time.Millisecond {
		t.Errorf("clients had %s to hear of it", took)
	}
	for _, m := range modes {
		res, after := get(t, m.client, m.url)
		if after == before[m.name] && m.name != "h3" { // whose client has one socket for all, and is refused on the old connection
			t.Errorf("%s: a new request comes by the connection %s", m.name, after)
		}
		if res.ProtoMajor == 1 && !res.Close {
			t.Errorf("%s: the answer does not say Connection: close", m.name)
		}
	}
	close(release)
	for range modes {
		if n := <-bodies; n != len(big) {
			t.Errorf("%d bytes of an answer that had begun", n)
		}
	}
	if err := w.GoAway(t.Context()); err != nil { // once more does nothing
		t.Error(err)
	}
	w.stop()
}

// TestGoAwayLosesNothing: requests come all the time, on connections that come and go.
func TestGoAwayLosesNothing(t *testing.T) {
	t.Parallel()
	w := start(t, readAllHandler)
	modes := w.modes()
	done, finished := make(chan struct{}), make(chan struct{})
	for _, m := range modes {
		for range 3 {
			go func() { // ends when done is closed
				defer func() { finished <- struct{}{} }()
				for n := 0; ; n++ {
					select {
					case <-done:
						return
					default:
					}
					res, err := m.client.Post(m.url, "text/plain", bytes.NewReader(make([]byte, n%5000)))
					if err != nil {
						t.Errorf("%s: %v", m.name, err)
						continue
					}
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if n%7 == 0 {
						m.client.CloseIdleConnections()
					}
				}
			}()
		}
	}
	time.Sleep(200 * time.Millisecond)
	if err := w.GoAway(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(200 * time.Millisecond)
	close(done)
	for range 3 * len(modes) {
		<-finished
	}
}
