package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go/http3"
)

const (
	fileConnections = 16
	fileStreams     = 10 // of a connection
	quicConnections = 8
)

func driveFilesH1(ctx context.Context, opts options, space *workspace, site fileSite) (uint64, time.Duration, error) {
	l := load{program: space.tool["wrk"], connections: fileConnections, threads: opts.load.threads, duration: opts.fileDuration}
	result, err := l.wrk(ctx, "http://"+site.plain+filePath)
	return result.requests, l.duration, err
}

var (
	h2loadRate   = regexp.MustCompile(`(?m)^finished in [\d.]+m?s, ([\d.]+) req/s`)
	h2loadCounts = regexp.MustCompile(`(?m)^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx$`)
	h2loadFailed = regexp.MustCompile(`(?m)^requests: .* 0 failed, 0 errored, 0 timeout$`)
)

func driveFilesH2(ctx context.Context, opts options, space *workspace, site fileSite) (uint64, time.Duration, error) {
	out, err := exec.CommandContext(ctx, space.tool["h2load"], "-D", strconv.Itoa(int(opts.fileDuration/time.Second)), "-t", strconv.Itoa(opts.load.threads),
		"-c", strconv.Itoa(fileConnections), "-m", strconv.Itoa(fileStreams), "https://"+site.tls+filePath).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("h2load: %w: %s", err, out)
	}
	return parseH2load(string(out), opts.fileDuration)
}

func parseH2load(out string, duration time.Duration) (uint64, time.Duration, error) {
	if !h2loadFailed.MatchString(out) || h2loadRate.FindString(out) == "" {
		return 0, 0, fmt.Errorf("h2load had failures; it printed:\n%s", out)
	}
	done, err := find(out, h2loadCounts, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	if err == nil && done == 0 {
		err = errors.New("no answer")
	}
	return done, duration, err
}

// driveFilesH3 has connections of their own, each of which sends the next request when it has an answer, on every stream.
func driveFilesH3(ctx context.Context, opts options, _ *workspace, site fileSite) (uint64, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+opts.fileDuration)
	defer cancel()
	var counted atomic.Uint64
	var over atomic.Bool
	var mu sync.Mutex // guards errs
	var errs []error
	var running sync.WaitGroup
	began := time.Now()
	for range quicConnections {
		transport := &http3.Transport{TLSClientConfig: trusting()}
		defer transport.Close()
		for range fileStreams {
			running.Go(func() { // ends when the time is over
				for !over.Load() {
					if err := getH3(ctx, transport, site); err != nil {
						mu.Lock()
						errs = append(errs, err)
						mu.Unlock()
						return
					}
					counted.Add(1)
				}
			})
		}
	}
	select {
	case <-time.After(opts.fileDuration):
	case <-ctx.Done():
	}
	done, took := counted.Load(), time.Since(began)
	over.Store(true)
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	if done == 0 {
		return 0, 0, errors.New("no answer")
	}
	return done, took, nil
}

func getH3(ctx context.Context, transport *http3.Transport, site fileSite) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+site.tls+filePath, nil)
	if err != nil {
		return err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); err != nil || n != 1024 || res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d with %d bytes, %w", res.StatusCode, n, err)
	}
	return nil
}
