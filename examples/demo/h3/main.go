// Command h3 fetches a URL over HTTP/3 and prints the answer. It is for a look at the demo: it trusts any certificate.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/quic-go/quic-go/http3"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: h3 https://localhost:8443/json")
		os.Exit(2)
	}
	if err := fetch(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "h3:", err)
		os.Exit(1)
	}
}

func fetch(url string) error {
	transport := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.Close()
	res, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	fmt.Println(res.Proto, res.Status)
	_, err = io.Copy(os.Stdout, res.Body)
	return err
}
