package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// filesCommand is the first argument that makes this program the server fileserver, which so is a process of its own.
const filesCommand = "serve-files"

func launchBareFiles(_ context.Context, space *workspace, site fileSite, srv *server) error {
	return srv.runSelf(space, filesCommand, site.folder, site.cert, site.key, site.plain, site.tls)
}

// serveFiles serves a folder with nothing but http.FileServer until ctx ends.
func serveFiles(ctx context.Context, site fileSite) error {
	handler := http.FileServer(http.Dir(site.folder))
	plain := &http.Server{Addr: site.plain, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	secure := &http.Server{Addr: site.tls, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	quic := &http3.Server{Addr: site.tls, Handler: handler}
	stopped := context.AfterFunc(ctx, func() { _ = errors.Join(plain.Close(), secure.Close(), quic.Close()) })
	defer stopped()
	ended := make(chan error, 3)
	go func() { ended <- plain.ListenAndServe() }() // these end with ctx
	go func() { ended <- secure.ListenAndServeTLS(site.cert, site.key) }()
	go func() { ended <- quic.ListenAndServeTLS(site.cert, site.key) }()
	err := <-ended
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// writePair writes a certificate for loopback, and its key.
func writePair(space *workspace) (cert, key string, err error) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	now := time.Now()
	form := x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "bench"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, &form, &form, &secret.PublicKey, secret)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return "", "", err
	}
	cert, key = space.path("bench.crt"), space.path("bench.key")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600),
	)
}

// trusting is what clients here believe: whoever answers on this machine.
func trusting() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// awaitPage waits until the page is served, by all of the protocols.
func awaitPage(ctx context.Context, srv *server, want string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		got, err := fetchPage(ctx, srv.base)
		switch {
		case err == nil && got == want:
			return nil
		case err == nil:
			err = fmt.Errorf("the page is %.100q", got)
		}
		if dead := srv.died(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not ready: %w", err), srv.logs())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func fetchPage(ctx context.Context, base string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+filePath, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	page, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return string(page), err
}
