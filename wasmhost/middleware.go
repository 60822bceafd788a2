package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/edge-server/edge/sdk/abi"
)

// Middleware runs the plugin around next. It always serves with the generation that is current when a request comes in.
// As the handler of a route, put it around one that answers for requests which the plugin passes on.
func (p *Plugin) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gen := p.enter()
		if gen == nil {
			p.withoutGuest(w, r, next)
			return
		}
		defer gen.leave()
		p.serve(gen, w, r, next)
	})
}

// withoutGuest: a plugin of the folder that was removed is not there any more, and requests pass by until the routes are
// put together anew. Anything else fails closed.
func (p *Plugin) withoutGuest(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if p.unloaded.Load() {
		next.ServeHTTP(w, r)
		return
	}
	p.counters.refused.Add(1)
	refuse(w)
}

// serve takes one request through an instance of gen.
func (p *Plugin) serve(gen *generation, w http.ResponseWriter, r *http.Request, next http.Handler) {
	inst, err := gen.pool.get(r.Context(), gen.limits.Wait)
	if err != nil {
		p.noInstance(w, err)
		return
	}
	p.counters.requests.Add(1)
	inst.begin(w, r)
	watch := p.counters.watch(inst)
	ctxNext, err := inst.request()
	watch.stop()
	if err != nil {
		p.requestFailed(gen, inst, err)
		return
	}

	if !ctxNext.Passes() {
		answer := inst.exchange.answer()
		p.giveBack(gen, inst)
		answer.send()
		return
	}

	w, r = inst.exchange.onward()
	if !inst.exchange.needsResponse() {
		p.giveBack(gen, inst)
		next.ServeHTTP(w, r)
		return
	}
	panicked := true
	defer func() { p.respond(gen, inst, ctxNext.ReqCtx(), panicked) }()
	inst.park()
	next.ServeHTTP(w, r)
	panicked = false
}

// respond takes the answer of the rest of the chain through handle_response. With panicked, which goes on after it, the
// guest is told that there is no answer.
func (p *Plugin) respond(gen *generation, inst *instance, reqCtx uint32, panicked bool) {
	if !inst.unpark() { // the plugin was closed by force while the rest of the chain had the request
		if held := inst.exchange.held; held != nil && !held.hijacked && !panicked {
			p.counters.errors.Add(1)
			inst.exchange.takeBack()
			fail(inst.exchange.w, http.StatusServiceUnavailable)
		}
		return
	}
	held := inst.exchange.held
	tooLarge := held != nil && held.tooLarge

	watch := p.counters.watch(inst)
	err := inst.response(reqCtx, panicked || tooLarge)
	watch.stop()
	if err != nil {
		p.responseFailed(gen, inst, err, panicked)
		return
	}

	lost := tooLarge && !inst.exchange.answerBegun
	if lost {
		inst.exchange.takeBack()
	}
	answer := inst.exchange.answer()
	p.giveBack(gen, inst)
	switch {
	case panicked || held == nil:
	case lost:
		p.count(errHeldTooLarge)
		fail(answer.w, http.StatusInternalServerError)
	default:
		answer.send()
	}
}

func (p *Plugin) giveBack(gen *generation, inst *instance) {
	inst.end()
	if inst.mod.IsClosed() { // the guest called proc_exit(0) and returned nevertheless
		gen.pool.discard(inst)
		return
	}
	gen.pool.put(inst)
}

// requestFailed answers a request whose handle_request did not return. The instance's memory is in an unknown state, so it
// is thrown away.
func (p *Plugin) requestFailed(gen *generation, inst *instance, err error) {
	status := p.explain(inst, abi.HandleRequest, err)
	w, sent := inst.exchange.w, inst.exchange.sent()
	inst.exchange.takeBack()
	gen.pool.discard(inst)
	if sent { // half an answer is out: break it off, so that nobody takes it for a whole one
		panic(http.ErrAbortHandler)
	}
	fail(w, status)
}

// responseFailed: an answer that was held back becomes a 500; one that went out cannot be taken back.
func (p *Plugin) responseFailed(gen *generation, inst *instance, err error, panicked bool) {
	status := p.explain(inst, abi.HandleResponse, err)
	w, held := inst.exchange.w, inst.exchange.held
	lost := held != nil && !held.hijacked && !panicked
	if lost {
		inst.exchange.takeBack()
	}
	gen.pool.discard(inst)
	if lost {
		fail(w, status)
	}
}

// explain counts and logs an error of a guest call and returns the status for the client. What the guest or the runtime
// says about it goes to the log alone.
func (p *Plugin) explain(inst *instance, function string, err error) int {
	var large errBodyTooLarge
	var client errClientBody
	var maxBytes *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		p.count(large)
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &client) && errors.As(client.cause, &maxBytes):
		p.count(client)
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &client):
		p.count(client)
		return http.StatusBadRequest
	}
	p.counters.traps.Add(1)
	p.count(errors.New(function + ": " + firstLine(err.Error())))
	attrs := []slog.Attr{slog.String("function", function), slog.String("error", err.Error())}
	if tail := inst.stderr.tail; len(tail) > 0 {
		attrs = append(attrs, slog.String("stderr", printable(tail)))
	}
	p.troubles.line(slog.LevelError, []byte("plugin trapped; the request got 500"), attrs...)
	return http.StatusInternalServerError
}

func (p *Plugin) count(err error) {
	p.counters.errors.Add(1)
	p.noteError(err)
}

// noInstance answers a request for which there is no instance.
func (p *Plugin) noInstance(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, errBusy), errors.Is(err, errClosed):
		p.counters.refused.Add(1)
		refuse(w)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		p.counters.refused.Add(1)
		refuse(w) // nobody reads it
	default:
		p.count(err)
		p.troubles.line(slog.LevelError, []byte("plugin has no instance for a request"), slog.String("error", err.Error()))
		fail(w, http.StatusInternalServerError)
	}
}

// refuse answers 503: try again soon.
func refuse(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	fail(w, http.StatusServiceUnavailable)
}

// fail answers with a status and its name, and nothing that a guest has to say.
func fail(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
