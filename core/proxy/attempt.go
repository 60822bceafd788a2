package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"
)

// reason is why an upstream has failed.
type reason int

const (
	reasonDial     reason = iota // no connection
	reasonTimeout                // no answer in time
	reasonProtocol               // the connection broke, or what came is no answer
	reasonStatus                 // an answer that counts as a failure
	reasonBody                   // half an answer
)

var reasons = [...]string{"dial", "timeout", "protocol", "status", "body"}

func (r reason) String() string { return reasons[r] }

// ErrLength is for FastCGI clients that need to know how long a body is that is too long to be read first.
var ErrLength = errors.New("the upstream needs the length of the body")

var (
	errUnavailable = errors.New("no upstream is available")
	errIdle        = errors.New("the upstream was silent for too long")
	errNoStatus    = errors.New("the status of its answer is none")
	errHeader      = errors.New("the name of a header is none")
)

// errStatus is an answer that counts as a failure.
type errStatus int

func (e errStatus) Error() string { return "it answers " + http.StatusText(int(e)) }

// statusOf is what a client is told about an error.
func statusOf(err error) int {
	var timeout net.Error
	switch {
	case errors.Is(err, errUnavailable):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrLength):
		return http.StatusLengthRequired
	case isDial(err):
		return http.StatusBadGateway
	case errors.Is(err, errIdle), errors.As(err, &timeout) && timeout.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

func isDial(err error) bool {
	var dial *dialError
	return errors.As(err, &dial)
}

func reasonOf(err error) reason {
	var timeout net.Error
	switch {
	case isDial(err):
		return reasonDial
	case errors.As(err, &timeout) && timeout.Timeout():
		return reasonTimeout
	}
	return reasonProtocol
}

// roundTrip asks one upstream after the other until one answers or none may be asked any more.
func (p *Proxy) roundTrip(out *http.Request) (*http.Response, error) {
	x := out.Context().Value(exchangeKey{}).(*exchange)
	x.takeInformational(p, out)
	defer x.settle()
	if p.mirror != nil && !isWebSocket(x.request) {
		p.mirror.send(out, x.body)
	}
	u := p.pick(x.request, nil)
	if u == nil {
		p.unavailable.Add(1)
		p.log.Warn("no upstream is available: all are ill or have as many requests as they may", "route", p.name)
		return nil, errUnavailable
	}
	for tried := []*upstream{u}; ; tried = append(tried, u) {
		res, err := p.attempt(u, out, x)
		x.upstream = u
		failure := err
		if err == nil && slices.Contains(p.config.Retry.Statuses, res.StatusCode) {
			failure = errStatus(res.StatusCode)
		}
		switch {
		case failure == nil:
			u.succeeded()
			return res, nil
		case out.Context().Err() != nil || x.body != nil && x.body.failure() != nil:
			return res, err // the client's doing
		}
		p.note(u, failure)
		if len(tried) > p.config.Retry.Tries || !p.mayRepeat(x, failure) {
			return res, err
		}
		if u = p.pick(x.request, tried); u == nil {
			return res, err
		}
		u.retried.Add(1)
		if res != nil {
			res.Body.Close()
		}
	}
}

// note counts a failure of an upstream and says so.
func (p *Proxy) note(u *upstream, err error) {
	why := reasonOf(err)
	if errors.As(err, new(errStatus)) {
		why = reasonStatus
	}
	if errors.Is(err, ErrLength) {
		return // nobody failed
	}
	out := u.hasFailed(&p.config.Passive, why, err, time.Now())
	p.log.Warn("upstream failed", "route", p.name, "upstream", u.config.URL, "reason", why.String(), "error", err)
	if out > 0 {
		p.log.Warn("upstream is left out", "route", p.name, "upstream", u.config.URL, "for", out)
	}
}

// mayRepeat reports whether another upstream may get the request as well.
func (p *Proxy) mayRepeat(x *exchange, err error) bool {
	if x.body != nil && !x.body.repeatable() {
		return false
	}
	if isDial(err) {
		return true // nobody has seen it
	}
	return isIdempotent(x.request.Method) && statusOf(err) != http.StatusGatewayTimeout && !isWebSocket(x.request)
}

func isIdempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// attempt asks one upstream, whose place was taken. The place is given back when the answer has been read.
func (p *Proxy) attempt(u *upstream, out *http.Request, x *exchange) (*http.Response, error) {
	u.requests.Add(1)
	ctx, cancel := context.WithCancelCause(out.Context())
	r := out.WithContext(ctx)
	target := *out.URL
	target.Scheme, target.Host = u.address.url.Scheme, u.address.url.Host
	r.URL = &target
	if p.config.Host == "upstream" {
		r.Host = u.address.url.Host
	}
	r.Body, r.GetBody = nil, nil
	if x.body != nil {
		r.Body, r.GetBody = x.body.next()
	}
	began := time.Now()
	res, err := u.transport.RoundTrip(r)
	u.seconds.Add(int64(time.Since(began)))
	if err != nil {
		cancel(nil)
		u.release()
		return nil, err
	}
	end := func() { // once
		cancel(nil)
		u.release()
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if conn, ok := res.Body.(readWriteCloser); ok {
			res.Body = &tunnelConn{readWriteCloser: conn, end: end}
			return res, nil
		}
	}
	if res.StatusCode < 200 {
		res.Body.Close()
		end()
		return nil, errNoStatus
	}
	x.answer = p.newAnswer(u, res.Body, ctx, cancel, end)
	res.Body = x.answer
	return res, nil
}
