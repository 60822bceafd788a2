package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener answers GET /metrics on an address of its own.
type Listener struct {
	addr string
	log  *slog.Logger
	http *http.Server
	wg   sync.WaitGroup

	// Listen returns the socket of that name, which another process may have handed over, or what open opens. It is set before Start.
	Listen func(name string, open func() (net.Listener, error)) (net.Listener, error)
}

// NewListener prepares the listener; nothing is opened before Start.
func NewListener(addr string, metrics http.Handler, log *slog.Logger) *Listener {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	here := func(_ string, open func() (net.Listener, error)) (net.Listener, error) { return open() }
	return &Listener{addr: addr, log: log, Listen: here, http: &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
}

// Start opens the address.
func (l *Listener) Start(context.Context) error {
	listener, err := l.Listen("metrics "+l.addr, func() (net.Listener, error) { return net.Listen("tcp", l.addr) })
	if err != nil {
		return fmt.Errorf("telemetry.metrics.listen: %w", err)
	}
	// Ends when Stop closes the listener.
	l.wg.Go(func() {
		if err := l.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.log.Error("metrics listener ended", "address", l.addr, "error", err)
		}
	})
	return nil
}

// Stop ends the listener after the answers in flight.
func (l *Listener) Stop(ctx context.Context) error {
	err := l.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, l.http.Close())
	}
	l.wg.Wait()
	return err
}
