package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// The targets that ratios refer to.
const (
	nginxFPM = "nginx-fpm"
	bareGo   = "bare-go"
)

// phpWorkers is how many PHP processes every target with PHP has.
const phpWorkers = 2

// target is a way to serve the scenarios.
type target struct {
	Name  string
	About string   // a line for the report
	Tools []string // keys of tools, all needed

	// Launch starts the processes and sets the server's base URL. What it started is stopped even when it fails.
	Launch func(context.Context, *workspace, *server) error
}

// targets is the table behind -target.
var targets = []target{
	edgeVariant{name: "edge", about: "Edge, C wasm middleware, sdk/php worker", php: true, guest: &hardening}.target(),
	edgeVariant{name: "edge-go-wasm", about: "Edge, Go wasm middleware, sdk/php worker", php: true, guest: &stamp}.target(),
	edgeVariant{name: "edge-php", about: "Edge, sdk/php worker, no wasm", php: true}.target(),
	edgeVariant{name: "edge-respond", about: "Edge, fixed answer, no wasm, no PHP"}.target(),
	{Name: nginxFPM, About: "nginx + php-fpm, opcache on", Tools: []string{"nginx", "php-fpm"}, Launch: launchNginx},
	{Name: bareGo, About: "bare Go net/http, answer computed in Go", Launch: launchBareGo},
}

func (t target) name() string { return t.Name }

// target makes a target of a server that runs already.
func (p peer) target() target {
	launch := func(_ context.Context, _ *workspace, srv *server) error {
		srv.base = p.base.String()
		return nil
	}
	return target{Name: p.name, About: "by address, " + p.base.Redacted(), Launch: launch}
}

// server is a target that runs.
type server struct {
	target
	base      string     // URL without a trailing slash
	processes []*process // in the order of their start; none when the server runs elsewhere
	proof     [2]string  // name and value of a header that every answer carries when the target is what it claims to be
}

// startTimeout bounds a start. Compiling a Go guest to machine code takes seconds on a busy machine.
const startTimeout = 60 * time.Second

// start launches the target and returns when it answers every scenario as it should.
func (s *server) start(ctx context.Context, space *workspace) error {
	if err := s.Launch(ctx, space, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, scenario := range space.scenarios {
		if err := s.await(ctx, scenario); err != nil {
			return err
		}
	}
	return nil
}

// await repeats check until it passes, a process of the target ends or time is up.
func (s *server) await(ctx context.Context, scenario scenario) error {
	const pause = 20 * time.Millisecond
	for {
		err := s.check(ctx, scenario)
		if err == nil {
			return nil
		}
		if dead := s.died(); dead != nil {
			return dead
		}
		var wrong *wrongAnswer
		if errors.As(err, &wrong) && wrong.final {
			return errors.Join(err, s.logs())
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not ready: %w", err), s.logs())
		case <-time.After(pause):
		}
	}
}

// wrongAnswer says how an answer differs from the scenario's.
type wrongAnswer struct {
	url, problem string
	final        bool // waiting does not help; a 5xx may pass while workers boot
}

func (w *wrongAnswer) Error() string { return fmt.Sprintf("GET %s: %s", w.url, w.problem) }

// check makes one request and compares every byte of the answer's body.
func (s *server) check(ctx context.Context, scenario scenario) error {
	url := s.base + scenario.Path()
	_, want := scenario.Answer()

	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(len(want))+1024))
	if err != nil {
		return fmt.Errorf("GET %s: read the body: %w", url, err)
	}

	switch name, value := s.proof[0], s.proof[1]; {
	case res.StatusCode != http.StatusOK:
		return &wrongAnswer{url, fmt.Sprintf("status %s: %.300q", res.Status, body), res.StatusCode < 500}
	case !bytes.Equal(body, want):
		return &wrongAnswer{url, fmt.Sprintf("the body is %.300q, want %.300q", body, want), true}
	case name != "" && res.Header.Get(name) != value:
		return &wrongAnswer{url, fmt.Sprintf("header %s is %q, want %q: the middleware did not run", name, res.Header.Get(name), value), true}
	}
	return nil
}

// run adds a process to the server.
func (s *server) run(space *workspace, name string, argv ...string) error {
	p, err := startProcess(space, s.Name+"-"+name, argv)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

// died returns an error when a process of the server has ended.
func (s *server) died() error {
	for _, p := range s.processes {
		if err := p.exited(); err != nil {
			return err
		}
	}
	return nil
}

// logs is what the processes printed, as an error to join.
func (s *server) logs() error {
	var errs []error
	for _, p := range s.processes {
		if tail := p.logTail(); tail != "" {
			errs = append(errs, fmt.Errorf("%s printed:\n%s", p.name, tail))
		}
	}
	return errors.Join(errs...)
}

// usage is what the server has used so far. The second result is false when its processes are not ours to look at.
func (s *server) usage() (usage, bool, error) {
	if len(s.processes) == 0 {
		return usage{}, false, nil
	}
	var roots []int
	for _, p := range s.processes {
		roots = append(roots, p.pid())
	}
	family, err := processTree(roots...)
	return usageOf(family), true, err
}

// stop ends the processes, the last started first.
func (s *server) stop() error {
	var errs []error
	for i := len(s.processes) - 1; i >= 0; i-- {
		errs = append(errs, s.processes[i].stop())
	}
	return errors.Join(errs...)
}
