package httpcache

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/edge-server/edge/kv"
)

// maxTries is how often a request waits for another one that gives up. Then it fetches its own answer.
const maxTries = 3

// fetch asks the target, or waits for a request that does so already.
func (x *exchange) fetch() {
	if x.state.epoch == 0 {
		x.state, _ = x.c.ensureState() // without one nothing is stored
	}
	if x.c.cfg.Coalesce == 0 || credentials(x.r) {
		x.ask()
		return
	}
	key := x.flightKey()
	if !x.found && x.c.shunned.has(key, time.Now()) {
		x.plain = true
		x.ask()
		return
	}
	wait := time.NewTimer(x.c.cfg.Coalesce)
	defer wait.Stop()
	for range maxTries {
		one, role := x.c.flights.join(key, x.state)
		switch role {
		case lead:
			x.flight = one
			if !x.landedMeanwhile() {
				x.ask()
			}
			return
		case alone:
			x.ask()
			return
		}
		select {
		case <-one.done:
		case <-wait.C:
			x.c.flights.leave(one)
			x.ask()
			return
		case <-x.r.Context().Done():
			x.c.flights.leave(one)
			panic(http.ErrAbortHandler) // the client has gone
		}
		x.c.flights.leave(one)
		if x.serveShared(one) {
			return
		}
		if !one.again {
			break
		}
	}
	x.ask()
}

// landedMeanwhile looks again when other requests have stored something since this one has looked. It reports whether that was an answer.
func (x *exchange) landedMeanwhile() bool {
	if x.c.flights.landings.Load() == x.landings {
		return false
	}
	x.landings = x.c.flights.landings.Load()
	state := x.state
	if x.look(); x.state.epoch == 0 {
		x.state = state
	}
	fwd := x.fwd
	if !x.serveStored(time.Now()) {
		x.fwd = fwd
		return false
	}
	x.flight.settle(&x.entry, false, false)
	x.c.flights.land(x.flight)
	return true
}

// flightKey is what requests have in common that wait for each other. Those with cookies are another kind: their answers are rarely for
// all, and nobody should wait to learn that.
func (x *exchange) flightKey() string {
	key := x.key
	if x.marked {
		key = x.variantKey()
	}
	if x.c.cfg.Cookies == cookiesPublic && len(x.r.Header["Cookie"]) > 0 {
		key += " with cookies"
	}
	return key
}

// serveShared answers with what another request has fetched, if that is an answer to this one too.
func (x *exchange) serveShared(one *flight) bool {
	e := one.entry
	if e == nil || !e.matches(x.r.Header) || !x.c.takesPart(x.r, e.flags) {
		return false
	}
	now := time.Now()
	x.c.count(collapsed)
	x.answer(e, now, "; fwd="+x.fwd+"; collapsed; ttl=", e.fresh(now)/1000)
	return true
}

// refresh asks the target in the background (RFC 5861, section 3). It works on a copy: that of a hit needs no memory.
func (x exchange) refresh() {
	one, role := x.c.flights.join(x.flightKey(), x.state)
	if role == join {
		x.c.flights.leave(one)
	}
	if role != lead {
		return // somebody does
	}
	release := func() {}
	if x.route.Hold != nil {
		release = x.route.Hold()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), refreshTimeout)
	stop := context.AfterFunc(x.c.guard.life, cancel)
	y := new(exchange)
	*y = x
	y.w, y.r, y.flight = nil, x.r.Clone(ctx), one
	y.r.Body = http.NoBody
	finish := func() {
		stop()
		cancel()
		release()
	}
	ok := x.c.inBackground(func() {
		defer finish()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				x.c.log.Error("response cache: the target panicked while it was asked in the background", "cache", x.c.name, "panic", p)
			}
		}()
		y.ask()
	})
	if !ok {
		x.c.flights.land(one)
		finish()
	}
}

// ask lets the target answer, and does with the answer what is to be done with it.
func (x *exchange) ask() {
	x.asked = x.found
	if rec := x.run(); rec != nil && !x.finish(rec) {
		x.asked = false // it said that something has not changed which we do not have: all of it, please
		if rec = x.run(); rec != nil {
			x.finish(rec)
		}
	}
}

// run calls the target. It returns nil when a stored answer was served since the target broke off.
func (x *exchange) run() *recorder {
	rec := &recorder{x: x, client: x.w, header: http.Header{}}
	x.began = time.Now()
	ended := false
	defer func() {
		if ended {
			return
		}
		x.c.drop(int64(cap(rec.body)))
		rec.body = nil
		x.c.flights.land(x.flight)
	}()
	broke := x.call(rec)
	if broke {
		if !x.staleFor() || rec.sent {
			panic(http.ErrAbortHandler)
		}
		ended = true
		x.c.drop(int64(cap(rec.body)))
		x.serveInstead()
		return nil
	}
	rec.open(nil)
	ended = true
	return rec
}

// call runs the target. It reports whether that broke off its answer.
func (x *exchange) call(rec *recorder) (broke bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			broke = true
		}
	}()
	x.next.ServeHTTP(rec, x.request())
	return false
}

// request is the one that the target sees: for the whole answer, by GET, with the validators of what is stored (RFC 9111, section 4.3.1)
// in the place of the client's.
func (x *exchange) request() *http.Request {
	r := *x.r
	r.Method = http.MethodGet
	r.Header = maps.Clone(x.r.Header)
	r.Body, r.ContentLength = http.NoBody, 0 // over HTTP/3 there may be one, which nothing that is stored must depend on
	if x.plain {
		return x.withQuery(&r)
	}
	for _, name := range [...]string{"Range", "If-Range", "If-None-Match", "If-Modified-Since"} {
		delete(r.Header, name)
	}
	if x.asked {
		etag, modified := x.entry.validators()
		if etag != "" {
			r.Header["If-None-Match"] = []string{etag}
		}
		if modified != "" {
			r.Header["If-Modified-Since"] = []string{modified}
		}
		x.asked = etag != "" || modified != ""
	}
	return x.withQuery(&r)
}

// withQuery takes out of r the parameters that make no difference.
func (x *exchange) withQuery(r *http.Request) *http.Request {
	if x.place.query != r.URL.RawQuery {
		u := *r.URL
		u.RawQuery = x.place.query
		r.URL, r.RequestURI = &u, u.RequestURI()
	}
	return r
}

// staleFor reports whether the stored answer may be served since the target fails (RFC 5861, section 4).
func (x *exchange) staleFor() bool {
	if !x.found || x.entry.flags&alwaysAsk != 0 {
		return false
	}
	span := x.entry.times.ifError
	if d := x.control.staleIfError; d != absent && x.entry.flags&mustRevalidate == 0 {
		span = max(span, d*1000)
	}
	return span > 0 && -x.entry.fresh(time.Now()) <= span
}

// head decides about an answer by its status and headers.
func (x *exchange) head(status int, h http.Header) (mode, verdict) {
	switch {
	case status == http.StatusNotModified && x.asked:
		return dropping, verdict{}
	case (status == 500 || status == 502 || status == 503 || status == 504) && x.staleFor():
		return dropping, verdict{}
	}
	now := time.Now()
	v := x.c.judge(x.r, status, h, now, now.Sub(x.began))
	if v.store && x.state.epoch == 0 {
		v.store, v.why = false, "store-away"
		if x.flight != nil {
			v.store = true // those who wait get it all the same
		}
	}
	if !v.store {
		return passing, v
	}
	return holding, v
}

// unstored tells those who wait that the answer is not for them. Where that will be so the next time, too, nobody waits for a while.
func (x *exchange) unstored(why string) {
	gone := x.r.Context().Err() != nil // what the target says then is for nobody
	switch {
	case gone || why == "status" || why == "incomplete":
	case why == "too-much-held", why == "store-away":
		x.c.stats.skipped.Add(1)
	case why == "too-large":
		x.c.stats.skipped.Add(1)
		fallthrough
	default:
		x.c.shunned.add(x.flightKey(), time.Now())
	}
	x.c.flights.remove(x.flight)
	x.flight.settle(nil, false, gone)
}

// missed is what Cache-Status says of an answer that came from the target.
func (x *exchange) missed(status int) string {
	text := "; fwd=" + x.fwd
	if x.fwd == "stale" || x.fwd == "request" {
		text += "; fwd-status=" + strconv.Itoa(status)
	}
	return text
}

// copyHeader puts the target's headers over the client's.
func (x *exchange) copyHeader(to, from http.Header, said string) {
	for name, values := range from {
		if !x.c.cfg.KeepTags && slices.Contains(tagHeaders[:], name) {
			continue
		}
		to[name] = values
	}
	x.c.say(to, said)
}

// finish ends an answer. false: the target says that something has not changed which is not what was stored.
func (x *exchange) finish(rec *recorder) bool {
	defer func() {
		x.c.drop(int64(cap(rec.body)))
		rec.body = nil
	}()
	switch {
	case rec.mode == passing:
		x.c.count(miss)
		x.c.flights.land(x.flight)
	case rec.mode == dropping && rec.status == http.StatusNotModified:
		return x.freshen(rec)
	case rec.mode == dropping:
		x.serveInstead()
	default:
		x.keep(rec)
	}
	return true
}

// serveInstead answers with what is stored, since the target fails.
func (x *exchange) serveInstead() {
	x.c.count(staleError)
	x.flight.settle(&x.entry, true, false)
	x.c.flights.land(x.flight)
	if x.w != nil {
		now := time.Now()
		x.answer(&x.entry, now, "; hit; detail=stale-if-error; ttl=", x.entry.fresh(now)/1000)
	}
}

// keep stores an answer that is complete, and sends it.
func (x *exchange) keep(rec *recorder) {
	if !rec.complete() || x.r.Context().Err() != nil { // a target may stop in the middle when the client has gone
		rec.pass("incomplete")
		x.c.count(miss)
		return
	}
	x.c.count(miss)
	if _, typed := rec.header["Content-Type"]; !typed && len(rec.body) > 0 && rec.header.Get("Content-Encoding") == "" {
		rec.header.Set("Content-Type", http.DetectContentType(rec.body))
	}
	list, ok := tags(rec.header)
	if !ok {
		rec.pass("too-many-tags")
		return
	}
	x.c.shunned.remove(x.flightKey())
	now := time.Now()
	rec.verdict.flags |= rec.made
	kept := x.build(rec.verdict, rec.status, x.c.stored(rec.header, now), rec.body, now)
	x.flight.settle(&kept.entry, false, false)
	stored := x.store(kept, list)
	if x.w == nil || rec.sent {
		return
	}
	said := "; stored"
	if !stored {
		said = "; detail=store-away"
	}
	x.copyHeader(x.w.Header(), rec.header, x.missed(rec.status)+said)
	x.body(x.w.Header(), nil, rec.status, rec.body)
}

// freshen stores the answer anew with the headers of a 304 (RFC 9111, section 4.3.4), and serves it.
func (x *exchange) freshen(rec *recorder) bool {
	etag, _ := x.entry.validators()
	if said := rec.header.Get("Etag"); said != "" && !lists([]string{said}, etag) {
		return false
	}
	now := time.Now()
	header := x.entry.header()
	for name, values := range rec.header {
		switch name { // RFC 9111, section 3.2
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Transfer-Encoding":
		default:
			header[name] = values
		}
	}
	delete(header, "Date")
	if date := rec.header["Date"]; len(date) > 0 {
		header["Date"] = date
	}
	if len(rec.header["Age"]) == 0 {
		delete(header, "Age")
	}
	v := x.c.judge(x.r, x.entry.status, header, now, now.Sub(x.began))
	list, ok := tags(header)
	x.c.count(revalidated)
	cookies := rec.header["Set-Cookie"]
	if x.w != nil && len(cookies) > 0 {
		x.w.Header()["Set-Cookie"] = cookies // whatever becomes of the entry, they are for this client
	}
	if !v.store || !ok || x.state.epoch == 0 {
		x.unstored(v.why)
		if v.why == "no-store" || v.why == "private" {
			x.forget()
		}
		e := entry{flags: x.entry.flags, status: x.entry.status, received: now.UnixMilli()}
		e.encode(x.key, nil, x.c.stored(header, now), x.entry.body)
		x.freshAnswer(&e, now)
		return true
	}
	v.vary = union(v.vary, x.entry.names())
	v.flags |= x.entry.flags & (byTarget | untouched)
	kept := x.build(v, x.entry.status, x.c.stored(header, now), x.entry.body, now)
	x.flight.settle(&kept.entry, false, false)
	x.store(kept, list)
	x.freshAnswer(&kept.entry, now)
	return true
}

func (x *exchange) freshAnswer(e *entry, now time.Time) {
	if x.w != nil {
		x.answer(e, now, "; fwd="+x.fwd+"; fwd-status=304; ttl=", e.fresh(now)/1000)
	}
}

// forget removes what is stored for the request.
func (x *exchange) forget() {
	_ = x.c.guard.do(func(ctx context.Context) error {
		return x.c.guard.store.Delete(ctx, []kv.Item{{Key: string(x.entry.name)}})
	})
}
