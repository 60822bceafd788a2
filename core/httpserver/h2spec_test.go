package httpserver_test

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/edge-server/edge/core/httpserver/localca"
	"github.com/edge-server/edge/internal/testenv"
)

// TestH2Spec runs h2spec against this server and against bare net/http with the same handler: the layers around net/http must
// not cost a single case.
func TestH2Spec(t *testing.T) {
	t.Parallel()
	tool := testenv.Tool(t, "h2spec", "make deps")
	handler := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	}
	w := start(t, handler)
	for _, mode := range []struct {
		name string
		addr string
		tls  bool
	}{{"TLS", w.secure, true}, {"h2c", w.plain, false}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel() // most of the time h2spec waits for what must not come
			var bareTotal int
			var bare []string
			addr := startBare(t, handler, mode.tls)
			done := make(chan struct{})
			go func() {
				defer close(done)
				bareTotal, bare = h2spec(t, tool, addr, mode.tls)
			}()
			total, failed := h2spec(t, tool, mode.addr, mode.tls)
			<-done
			t.Logf("edge fails %d of %d, bare net/http %d of %d: %q", len(failed), total, len(bare), bareTotal, failed)
			if total != bareTotal || total < 100 {
				t.Errorf("%d cases ran against edge, %d against net/http", total, bareTotal)
			}
			for _, name := range failed {
				if !slices.Contains(bare, name) {
					t.Errorf("bare net/http passes and edge fails: %s", name)
				}
			}
		})
	}
}

// h2spec runs all cases and returns how many there are, and those that failed. It may be called from any goroutine of a test.
func h2spec(t *testing.T, tool, addr string, secure bool) (total int, failed []string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	report := filepath.Join(t.TempDir(), "report.xml")
	args := []string{"-h", host, "-p", port, "-o", "3", "-j", report}
	if secure {
		args = append(args, "-t", "-k")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) { // it exits with 1 when a case fails
		t.Errorf("%v\n%s", err, out)
		return 0, nil
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
		return 0, nil
	}
	var suites struct {
		Suite []struct {
			Package string `xml:"package,attr"`
			Case    []struct {
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Error(err)
	}
	for _, suite := range suites.Suite {
		for _, c := range suite.Case {
			total++
			if c.Failure != nil || c.Error != nil {
				failed = append(failed, fmt.Sprintf("%s: %s", suite.Package, c.Name))
			}
		}
	}
	return total, failed
}

// startBare serves handler as a program without this package would.
func startBare(t testing.TB, handler http.HandlerFunc, secure bool) string {
	t.Helper()
	ca, err := localca.Open(testenv.Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, Protocols: new(http.Protocols), TLSConfig: &tls.Config{GetCertificate: ca.GetCertificate}, ErrorLog: log.New(io.Discard, "", 0)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(secure)
	s.Protocols.SetUnencryptedHTTP2(!secure)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			conns.Add(1)
		case http.StateClosed:
			conns.Done() // HTTP/2 connections linger for a second after Close
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if secure {
			s.ServeTLS(ln, "", "")
		} else {
			s.Serve(ln)
		}
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
		conns.Wait()
	})
	return ln.Addr().String()
}
