package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
)

// Middleware runs the plugin around next. It always serves with the generation that is current when a request comes in.
// As the handler of a route, put it around one that answers for requests which the plugin passes on.
func (p *Plugin) Middleware(next http.Handler) http.Handler {
	if c, ok := next.(*chain); ok {
		return &chain{append([]*Plugin{p}, c.plugins...), c.last}
	}
	return &chain{[]*Plugin{p}, next}
}

// chain is plugins one around the other, and the handler that they are around. It is a loop, as calls one inside of the other
// are dear: the processor foresees returns of sixteen levels, and three plugins take more.
type chain struct {
	plugins []*Plugin // the outermost first
	last    http.Handler
}

// ServeHTTP implements http.Handler.
func (c *chain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var way passage
	defer way.breakOff()
	for _, p := range c.plugins {
		if w, r = way.through(p, w, r); r == nil {
			way.back(false)
			return
		}
	}
	c.last.ServeHTTP(w, r)
	way.back(false)
}

// passage is the way of one request through a chain.
type passage struct {
	inside *instance // the innermost that waits for the answer; the others are its outer, one after the other
	calls  *instance // whose guest is called just now
}

// through takes the request through a plugin and returns it as the next handler is to get it; nil if it has its answer.
func (way *passage) through(p *Plugin, w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	if p.goesAround() {
		return w, r
	}
	inst, err := p.take(r.Context())
	if err != nil {
		if !p.withoutInstance(w, err) {
			r = nil
		}
		return w, r
	}
	gen := inst.gen
	p.counters.requests.Add(1)
	way.calls = inst
	inst.begin(w, r)
	inst.startClock()
	ctxNext, err := inst.request()
	inst.stopClock(&p.counters)
	way.calls = nil
	if err != nil {
		original := p.passesOn(gen, inst, err)
		if original == nil {
			p.requestFailed(gen, inst, err)
		}
		return w, original
	}
	if !ctxNext.Passes() {
		if inst.exchange.held == nil {
			p.checkLength(&inst.exchange)
		}
		answer := inst.exchange.answer()
		gen.recycle(inst)
		answer.send()
		return w, nil
	}

	w, r = inst.exchange.onward()
	if !inst.exchange.needsResponse() {
		gen.recycle(inst)
		return w, r
	}
	inst.outer, inst.reqCtx = way.inside, ctxNext.ReqCtx()
	way.inside = inst
	inst.park()
	return w, r
}

// back takes the answer through the plugins that wait for it.
func (way *passage) back(panicked bool) {
	for inst := way.inside; inst != nil; inst = way.inside {
		way.inside, inst.outer = inst.outer, nil
		way.calls = inst
		way.respond(inst, panicked)
	}
}

// breakOff is back after a panic, which goes on after it.
func (way *passage) breakOff() {
	if way.inside == nil && way.calls == nil {
		return
	}
	defer way.breakOff() // should another one come of this
	if way.calls == nil && way.overflowed() {
		cause := recover()
		broken := cause == http.ErrAbortHandler // by a handler that could not write on: there is an answer, which says so
		way.back(!broken)
		if !broken && cause != nil {
			panic(cause)
		}
		return
	}
	if inst := way.calls; inst != nil { // a fault of the host itself
		way.calls = nil
		inst.gen.discard(inst)
	}
	way.back(true)
}

// overflowed reports whether a plugin holds back an answer that grew too large for it.
func (way *passage) overflowed() bool {
	for inst := way.inside; inst != nil; inst = inst.outer {
		if held := inst.exchange.held; held != nil && held.tooLarge {
			return true
		}
	}
	return false
}

// checkLength complains of an answer of the guest's own that does not have the length which it announced: it reaches the client
// broken, unless a plugin further out holds it back and replaces it.
func (p *Plugin) checkLength(x *exchange) {
	says := x.w.Header()["Content-Length"]
	if len(says) != 1 || x.method == http.MethodHead || x.status == http.StatusNoContent || x.status == http.StatusNotModified {
		return
	}
	if says[0] == strconv.FormatInt(x.wrote, 10) {
		return
	}
	p.count(fmt.Errorf("the Content-Length of its answer says %s, and it wrote %d bytes", printable([]byte(says[0])), x.wrote))
	p.troubles.line(slog.LevelWarn, []byte("plugin answered with a Content-Length that is not that of the body"),
		slog.String("says", printable([]byte(says[0]))), slog.Int64("wrote", x.wrote))
}

// respond takes the answer of the rest of the chain through handle_response. With panicked the guest is told that there is none.
func (way *passage) respond(inst *instance, panicked bool) {
	gen := inst.gen
	p := gen.ext.plugin
	if !inst.unpark() { // the plugin was closed by force while the rest of the chain had the request
		way.calls = nil
		gen.leave()
		if held := inst.exchange.held; held != nil && !held.hijacked && !panicked {
			p.count(errTaken)
			p.troubles.line(slog.LevelWarn, []byte("the plugin was closed by force while a handler had the request, whose answer is lost: it got 503"))
			inst.exchange.takeBack()
			fail(inst.exchange.w, http.StatusServiceUnavailable)
		}
		return
	}
	held := inst.exchange.held
	tooLarge := held != nil && held.tooLarge

	if held != nil {
		held.complete(inst.exchange.r.Method)
		if gen.opens {
			held.keep()
		}
	}
	inst.startClock()
	err := inst.response(inst.reqCtx, panicked || tooLarge)
	inst.stopClock(&p.counters)
	way.calls = nil
	if err != nil {
		p.responseFailed(gen, inst, err, panicked)
		return
	}

	lost := tooLarge && !inst.exchange.answerBegun
	if lost {
		inst.exchange.takeBack()
	}
	answer := inst.exchange.answer()
	gen.recycle(inst)
	switch {
	case panicked || held == nil:
	case lost:
		p.count(errHeldTooLarge)
		p.troubles.line(slog.LevelWarn, []byte(errHeldTooLarge.Error()+"; the request got 500"), slog.String("limit", gen.limits.Body.String()))
		fail(answer.w, http.StatusInternalServerError)
	default:
		answer.send()
	}
}

// passesOn ends the guest's part in a request that goes on without it, and returns the request as it came; nil if it does
// not go on.
func (p *Plugin) passesOn(gen *generation, inst *instance, err error) *http.Request {
	var trap *Trap
	if !gen.opens || !errors.As(err, &trap) {
		return nil
	}
	original := inst.exchange.original()
	if original == nil {
		return nil
	}
	p.explain(inst, err, "the request goes on without it")
	inst.exchange.takeBack()
	gen.salvage(inst)
	return original
}

// requestFailed answers a request whose handle_request did not return. The instance's memory is in an unknown state, so it
// is not used again as it is.
func (p *Plugin) requestFailed(gen *generation, inst *instance, err error) {
	w, sent := inst.exchange.w, inst.exchange.sent()
	outcome := got500
	if sent {
		outcome = "its answer is broken off"
	}
	status := p.explain(inst, err, outcome)
	inst.exchange.takeBack()
	gen.salvage(inst)
	if sent { // half an answer is out: break it off, so that nobody takes it for a whole one
		panic(http.ErrAbortHandler)
	}
	fail(w, status)
}

// responseFailed: an answer that was held back becomes a 500; one that went out cannot be taken back.
func (p *Plugin) responseFailed(gen *generation, inst *instance, err error, panicked bool) {
	w, held, method := inst.exchange.w, inst.exchange.held, inst.exchange.method
	lost := held != nil && !held.hijacked && !panicked
	asItWas := lost && held.before != nil && !held.tooLarge
	outcome := got500
	switch {
	case panicked:
		outcome = "there was no answer any more"
	case asItWas:
		outcome = "the answer went out as the plugin got it"
	case !lost:
		outcome = "the answer had gone out"
	}
	status := p.explain(inst, err, outcome)
	if lost {
		inst.exchange.takeBack()
	}
	if asItWas {
		gen.salvage(inst)
		held.before.release(method)
		return
	}
	gen.salvage(inst)
	if lost {
		fail(w, status)
	}
}

// got500 is what becomes of most requests whose guest fails.
const got500 = "the request got 500"

// explain counts and logs an error of a guest call, with what became of it, and returns the status for the client. What the guest
// or the runtime says about it goes to the log alone.
func (p *Plugin) explain(inst *instance, err error, outcome string) int {
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
	case errors.Is(err, errClientGone):
		p.count(errClientGone)
		return http.StatusBadRequest // nobody reads it
	}
	var trap *Trap
	trapped := errors.As(err, &trap)
	var thrown scriptError
	if errors.As(err, &thrown) {
		err = thrown // without the engine's own stack
	}
	p.counters.traps.Add(1)
	p.failedOnce()
	function := inst.exchange.phase.export()
	p.count(errors.New(function + ": " + firstLine(err.Error())))
	attrs := []slog.Attr{slog.String("function", function), slog.String("error", printable([]byte(err.Error())))}
	kind := TrapMisuse // it returned what it must not
	if trapped {
		kind = trap.Kind
	}
	p.counters.kinds[kind].Add(1)
	attrs = append(attrs, slog.String("kind", kind.String()))
	if stream, words := inst.lastWords(); words != "" {
		attrs = append(attrs, slog.String(stream, words))
	}
	p.troubles.line(slog.LevelError, []byte("plugin trapped; "+outcome), attrs...)
	return http.StatusInternalServerError
}

func (p *Plugin) count(err error) {
	p.counters.errors.Add(1)
	p.noteError(err)
}

// withoutInstance answers a request for which there is no instance, unless it goes on.
func (p *Plugin) withoutInstance(w http.ResponseWriter, err error) (goesOn bool) {
	switch {
	case errors.Is(err, errNotThere):
		return p.withoutGuest(w)
	case p.config.OnError == OnErrorOpen:
		p.goesWithout(err)
		return true
	}
	p.noInstance(w, err)
	return false
}

// withoutGuest: a plugin of the folder that was removed is not there any more, and requests pass by until the routes are
// put together anew. Anything else fails closed.
func (p *Plugin) withoutGuest(w http.ResponseWriter) (goesOn bool) {
	if p.unloaded.Load() || p.config.OnError == OnErrorOpen {
		return true
	}
	p.counters.refused.Add(1)
	refuse(w)
	return false
}

// goesWithout notes a request that has no instance and goes on.
func (p *Plugin) goesWithout(err error) {
	p.counters.refused.Add(1)
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
		p.failedOnce()
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
