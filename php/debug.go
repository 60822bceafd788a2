package php

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// With debug: true and mode: worker every request is answered by a process of its own, booted when the request comes: the code is never stale, a
// debugger that attaches to the script (XDEBUG_ variables are inherited) sees one request, and what went wrong belongs to it and
// is shown in the browser. workers.max bounds how many there are at a time, queue how many may wait for that.

// alone reports whether every request has a worker of its own. In classic mode code is never stale anyway.
func (p *Pool) alone() bool { return p.cfg.Debug && p.cfg.Mode == modeWorker }

// seats bounds the workers of debug mode.
type seats struct {
	taken   chan struct{} // filled by requests that have a worker
	waiting atomic.Int64  // requests that have none yet
}

// submitAlone answers the job with a worker that nobody else gets.
func (p *Pool) submitAlone(ctx context.Context, j *job) error {
	p.stats.requests.Add(1)
	if err := p.takeSeat(ctx); err != nil {
		return err
	}
	w, err := p.bootAlone(ctx)
	if err != nil {
		p.leaveSeat()
		return &explained{cause: err}
	}
	notes := newNotes(p.log.Handler())
	w.log = slog.New(notes).With("pool", p.name, "pid", w.proc.pid)

	p.mu.Lock()
	w.retire = true
	p.workers = append(p.workers, w)
	p.beginWork(w)
	if p.isForced() {
		w.killed.Store(true)
		w.proc.kill()
	}
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() { // ends with the worker; Stop waits for its seat
		defer p.leaveSeat()
		defer close(ended)
		w.runOnce(j)
	}()
	<-j.done
	if j.err == nil {
		return nil
	}
	<-ended // all that it had to say is there
	return &explained{cause: j.err, log: notes.text(), stderr: w.proc.log.Said(), status: w.proc.status}
}

// takeSeat waits until fewer than workers.max workers run.
func (p *Pool) takeSeat(ctx context.Context) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		p.stats.refused.Add(1)
		return ErrStopped
	}
	p.busy++ // a stop waits for it
	p.running.Add(1)
	p.mu.Unlock()

	err := p.waitForSeat(ctx)
	if err != nil {
		p.uncount()
	}
	return err
}

func (p *Pool) waitForSeat(ctx context.Context) error {
	select {
	case p.seats.taken <- struct{}{}:
		return nil
	default:
	}
	defer p.seats.waiting.Add(-1)
	if p.seats.waiting.Add(1) > int64(p.cfg.Queue.Max) {
		p.stats.queueFull.Add(1)
		return ErrQueueFull
	}
	patience := time.NewTimer(p.cfg.Queue.Timeout)
	defer patience.Stop()
	select {
	case p.seats.taken <- struct{}{}:
		return nil
	case <-p.forced:
		p.stats.refused.Add(1)
		return ErrStopped
	case <-patience.C:
		p.stats.queueTimeouts.Add(1)
		return ErrQueueTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pool) leaveSeat() {
	<-p.seats.taken
	p.uncount()
}

// uncount takes back what takeSeat counted.
func (p *Pool) uncount() {
	p.mu.Lock()
	p.busy--
	p.checkSettled()
	p.mu.Unlock()
	p.running.Done()
}

// bootAlone boots a worker of the code as it is now.
func (p *Pool) bootAlone(ctx context.Context) (*worker, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.life, func() { cancel(ErrStopped) })()
	s, err := p.newSpec()
	if err != nil {
		return nil, err
	}
	s.fence.Store(fenceUnanswered) // one request needs no fence
	p.stats.booted.Add(1)
	return p.boot(ctx, s)
}

// runOnce serves one job and ends the worker.
func (w *worker) runOnce(j *job) {
	next := w.serve(j)
	if next == keep {
		w.count()
	}
	if next == dead {
		w.kill()
	} else {
		w.shutdown()
	}
	w.pool.leave(w, next == dead)
}

// explained is why a request failed, with all that is known about it.
type explained struct {
	cause  error
	log    string // what Edge logged about the worker
	stderr string // what PHP wrote there last
	status string // how the process ended
}

func (e *explained) Error() string { return e.cause.Error() }
func (e *explained) Unwrap() error { return e.cause }

// explainInBrowser answers a request that PHP did not, with the reason: only in debug mode, since it shows paths and whatever PHP
// wrote.
func (p *Pool) explainInBrowser(w http.ResponseWriter, r *http.Request, err error) {
	var e *explained
	if !errors.As(err, &e) {
		e = &explained{cause: err}
	}
	if status := statusFor(err); status < 500 || status == http.StatusServiceUnavailable {
		p.refuse(w, err)
		return
	}
	page := debugPage{Title: e.Error(), Log: e.log, Stderr: e.stderr, Status: e.status}
	if errors.Is(err, ErrTimeout) {
		page.Hint = fmt.Sprintf("php.%s.exec_timeout is %s. To stop at breakpoints, set it to 0s.", p.name, p.cfg.ExecTimeout)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, page.text())
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, page.html())
}

// debugPage is what the browser shows.
type debugPage struct{ Title, Hint, Log, Stderr, Status string }

func (p debugPage) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.Title)
	for _, part := range [][2]string{{"", p.Hint}, {"What happened", p.Log}, {"PHP's stderr", p.Stderr}, {"The process", p.Status}} {
		if part[1] != "" {
			fmt.Fprintf(&b, "\n%s\n%s\n", part[0], part[1])
		}
	}
	return b.String()
}

// html is the page for a browser. (A template would do it, and keep the linker from dropping any method of the whole program.)
func (p debugPage) html() string {
	var b strings.Builder
	b.WriteString(debugHead)
	fmt.Fprintf(&b, "<h1>%s</h1>\n", html.EscapeString(p.Title))
	if p.Hint != "" {
		fmt.Fprintf(&b, "<p>%s</p>\n", html.EscapeString(p.Hint))
	}
	for _, part := range [][2]string{{"What happened", p.Log}, {"PHP's stderr", p.Stderr}, {"The process", p.Status}} {
		if part[1] != "" {
			fmt.Fprintf(&b, "<h2>%s</h2><pre>%s</pre>\n", html.EscapeString(part[0]), html.EscapeString(part[1]))
		}
	}
	b.WriteString("<footer>Edge shows this page because of debug: true, which is for development only.</footer>\n</html>\n")
	return b.String()
}

const debugHead = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>500: PHP gave no answer</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222; background: #fff }
h1 { font-size: 1.3rem; border-left: .4rem solid #c33; padding-left: .8rem; white-space: pre-wrap; overflow-wrap: anywhere }
h2 { font-size: 1rem; margin: 1.5rem 0 .3rem }
pre { background: #f4f4f4; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 }
footer { margin-top: 2rem; color: #666; font-size: .85rem }
</style>
`

// maxNotes is how many lines of the log the page shows.
const maxNotes = 50

// notes is a log handler that passes records on and keeps the text of each for the page.
type notes struct {
	slog.Handler
	kept *keptNotes
}

type keptNotes struct {
	mu    sync.Mutex // protects lines
	lines []string
}

func newNotes(next slog.Handler) *notes { return &notes{next, &keptNotes{}} }

// Handle implements slog.Handler.
func (n *notes) Handle(ctx context.Context, r slog.Record) error {
	line := r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += "\n    " + a.Key + ": " + a.Value.String()
		return true
	})
	n.kept.mu.Lock()
	if len(n.kept.lines) < maxNotes {
		n.kept.lines = append(n.kept.lines, line)
	}
	n.kept.mu.Unlock()
	return n.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler. What is added for all records, such as the pid, is for the log alone.
func (n *notes) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &notes{n.Handler.WithAttrs(attrs), n.kept}
}

// WithGroup implements slog.Handler.
func (n *notes) WithGroup(name string) slog.Handler {
	return &notes{n.Handler.WithGroup(name), n.kept}
}

func (n *notes) text() string {
	n.kept.mu.Lock()
	defer n.kept.mu.Unlock()
	return strings.Join(n.kept.lines, "\n")
}
