package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"
)

// The targets that ratios refer to, and those of the bars.
const (
	edgePHP     = "edge-php"
	edgePSR7    = "edge-psr7"
	edgeClassic = "edge-classic"
	edgeRR      = "edge-rr"
	edgeRespond = "edge-respond"
	nginxFPM    = "nginx-fpm"
	bareGo      = "bare-go"
)

// postType is the content type of a scenario's body.
const postType = "application/octet-stream"

// phpWorkers is how many PHP processes every target with PHP has.
const phpWorkers = 2

// target is a way to serve the scenarios.
type target struct {
	Name  string
	About string   // a line for the report
	Tools []string // keys of tools, all needed
	peer  bool     // a server by address

	// Launch starts the processes and sets the server's base URL. What it started is stopped even when it fails.
	Launch func(context.Context, *workspace, *server) error
}

// targets is the table behind -target.
var targets = []target{
	edgeVariant{name: "edge", about: "Edge, C wasm middleware, sdk/php worker", worker: plainWorker, guest: &hardening}.target(),
	edgeVariant{name: "edge-go-wasm", about: "Edge, Go wasm middleware, sdk/php worker", worker: plainWorker, guest: &stamp}.target(),
	edgeVariant{name: edgePHP, about: "Edge, sdk/php worker, no wasm", worker: plainWorker}.target(),
	edgeVariant{name: edgePSR7, about: "Edge, sdk/php worker with PSR-7 (Nyholm)", worker: "psr7-worker.php"}.target(),
	edgeVariant{name: edgeRR, about: "Edge, worker that speaks RoadRunner's protocol", worker: "rr-worker.php"}.target(),
	edgeVariant{name: edgeClassic, about: "Edge, classic mode with php-cgi", classic: true}.target(),
	edgeVariant{name: edgeRespond, about: "Edge, fixed answer, no wasm, no PHP"}.target(),
	{Name: nginxFPM, About: "nginx + php-fpm, opcache on", Tools: []string{"nginx", "php-fpm"}, Launch: launchNginx},
	{Name: bareGo, About: "bare Go net/http, answer computed in Go", Launch: launchBareGo},
}

func (t target) name() string { return t.Name }

// server is a target that runs.
type server struct {
	target
	app       app
	base      string            // URL without a trailing slash
	processes []*process        // in the order of their start; none when the server runs elsewhere
	roots     []int             // processes that run the server and are not of bench
	proof     [2]string         // name and value of a header that every answer carries when the target is what it claims to be
	scripts   map[string]string // wrk's scripts by scenario, for those that need one
	collect   string            // URL that has the server's garbage collected, where memory is measured
	socket    string            // where that is, if not at base
	lacks     []string          // scenarios that a server by address does not have
}

// serves reports whether the server has the scenario.
func (s *server) serves(scenario scenario) bool {
	if s.peer {
		return !slices.Contains(s.lacks, scenario.Name)
	}
	return s.app.name == scenario.App && scenario.servedBy(s.Name)
}

// title is the name for people and for files.
func (s *server) title() string {
	if s.app.name == "" {
		return s.Name
	}
	return s.Name + "-" + s.app.name
}

// startTimeout bounds a start. Compiling a Go guest to machine code takes seconds on a busy machine.
const startTimeout = 60 * time.Second

// start launches the target and returns when it answers every scenario as it should.
func (s *server) start(ctx context.Context, space *workspace, progress io.Writer) error {
	s.scripts = space.scripts
	if err := s.Launch(ctx, space, s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, scenario := range space.scenarios {
		if !s.serves(scenario) {
			continue
		}
		err := s.await(ctx, scenario)
		var wrong *wrongAnswer
		if s.peer && errors.As(err, &wrong) && wrong.absent {
			fmt.Fprintf(progress, "%s does not serve %s and is left out there\n", s.Name, scenario.Path())
			s.lacks = append(s.lacks, scenario.Name)
			continue
		}
		if err != nil {
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
	request, problem string
	final            bool // waiting does not help; a 5xx may pass while workers boot
	absent           bool // the path is not known there
}

func (w *wrongAnswer) Error() string { return w.request + ": " + w.problem }

// check makes one request and compares every byte of the answer's body.
func (s *server) check(ctx context.Context, scenario scenario) error {
	url := s.base + scenario.Path()
	request := scenario.Method() + " " + url
	_, want := scenario.Answer(scenario.Post)

	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, scenario.Method(), url, bytes.NewReader(scenario.Post))
	if err != nil {
		return err
	}
	if scenario.Post != nil {
		req.Header.Set("Content-Type", postType)
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(len(want))+1024))
	if err != nil {
		return fmt.Errorf("%s: read the body: %w", request, err)
	}

	switch name, value := s.proof[0], s.proof[1]; {
	case res.StatusCode != http.StatusOK:
		return &wrongAnswer{request, fmt.Sprintf("status %s: %.300q", res.Status, body), res.StatusCode < 500, res.StatusCode == http.StatusNotFound}
	case !bytes.Equal(body, want):
		return &wrongAnswer{request, fmt.Sprintf("the body is %.300q, want %.300q", body, want), true, false}
	case name != "" && res.Header.Get(name) != value:
		return &wrongAnswer{request, fmt.Sprintf("header %s is %q, want %q: the middleware did not run", name, res.Header.Get(name), value), true, false}
	}
	return nil
}

// run adds a process to the server.
func (s *server) run(space *workspace, name string, argv ...string) error {
	p, err := startProcess(space, s.title()+"-"+name, argv)
	if err != nil {
		return err
	}
	s.processes = append(s.processes, p)
	return nil
}

// runSelf adds this program, as the server that its first argument names.
func (s *server) runSelf(space *workspace, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return s.run(space, "server", append([]string{self}, args...)...)
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
	roots := slices.Clone(s.roots)
	for _, p := range s.processes {
		roots = append(roots, p.pid())
	}
	if len(roots) == 0 {
		return usage{}, false, nil
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
