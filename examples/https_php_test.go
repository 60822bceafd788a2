package examples

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestHTTPSPHP: a PHP site gets its certificate from an authority, with the twelve lines of the example at most. Only the ports and the
// authority are others.
func TestHTTPSPHP(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "php-cgi", "apt-get install php-cgi")
	config, err := os.ReadFile("https-php/edge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(config, []byte("\n")); n > 12 {
		t.Errorf("edge.yaml has %d lines", n)
	}
	p := testenv.StartPebble(t)
	s := edgetest.StartDir(t, "https-php",
		fmt.Sprintf(`EDGE_HTTP__LISTEN=[{address: "127.0.0.1:%d", redirect: true}, {address: "127.0.0.1:%d", tls: true, http3: true}]`, p.HTTP, p.TLS),
		"EDGE_HTTP__TLS__ACME__CA="+p.Directory, "EDGE_HTTP__TLS__ACME__CA_ROOT="+p.CARoot)

	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.Roots(t)}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			_, port, _ := net.SplitHostPort(address)
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port) // as browsers find names that end in .localhost
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var body string
	testenv.Eventually(t, "a page with a certificate of the authority", func() bool {
		res, err := client.Get(fmt.Sprintf("http://shop.localhost:%d/", p.HTTP)) // which is redirected to HTTPS
		if err != nil {
			return false // the certificate is on its way
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		body = res.Proto + " " + string(text)
		return err == nil && res.StatusCode == http.StatusOK
	})
	if !strings.HasPrefix(body, "HTTP/2.0 Hello from PHP") || !strings.HasSuffix(body, ": HTTPS\n") {
		t.Errorf("the page is %q\n%s", body, s.Log)
	}
}
