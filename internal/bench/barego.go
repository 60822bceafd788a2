package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// bareGoCommand is the first argument that makes this program the bare Go target, which so is a process of its own.
const bareGoCommand = "serve-bare-go"

func launchBareGo(_ context.Context, space *workspace, srv *server) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	srv.base = "http://" + address
	return srv.runSelf(space, bareGoCommand, address, srv.app.name)
}

// serveBareGo serves every scenario of an application with nothing but net/http until ctx ends.
func serveBareGo(ctx context.Context, address, app string) error {
	mux := http.NewServeMux()
	for _, s := range scenarios {
		if s.App != app {
			continue
		}
		mux.HandleFunc(s.Method()+" "+s.Path(), func(w http.ResponseWriter, r *http.Request) {
			request, err := io.ReadAll(r.Body)
			if err != nil {
				return // the client went away; there is nobody to tell
			}
			contentType, body := s.Answer(request)
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			_, _ = w.Write(body)
		})
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
