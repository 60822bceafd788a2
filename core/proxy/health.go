package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// watch checks an upstream until the proxy stops. It counts as well until checks say otherwise.
func (p *Proxy) watch(u *upstream) {
	good, bad := 0, 0
	// Not all servers of a fleet ask at the same time.
	timer := time.NewTimer(rand.N(p.config.Health.Interval/10 + 1))
	defer timer.Stop()
	for {
		select {
		case <-p.life.Done():
			return
		case <-timer.C:
		}
		err := p.check(u)
		if p.life.Err() != nil {
			return
		}
		if err == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
			u.checksFailed.Add(1)
		}
		switch {
		case bad >= p.config.Health.Down && !u.down.Swap(true):
			p.log.Warn("upstream is ill", "route", p.name, "upstream", u.config.URL, "checks", bad, "error", err)
		case good >= p.config.Health.Up && u.down.Swap(false):
			u.succeeded()
			u.until.Store(0)
			p.log.Info("upstream is well again", "route", p.name, "upstream", u.config.URL)
		}
		timer.Reset(p.config.Health.Interval)
	}
}

// check asks once.
func (p *Proxy) check(u *upstream) error {
	ctx, cancel := context.WithTimeout(p.life, p.config.Health.Timeout)
	defer cancel()
	target, err := url.Parse(p.config.Health.Path)
	if err != nil {
		return err
	}
	target.Scheme, target.Host = u.address.url.Scheme, u.address.url.Host
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	if p.config.Host != "" && p.config.Host != "upstream" {
		r.Host = p.config.Host
	}
	r.Header.Set("User-Agent", "Edge health check")
	res, err := u.transport.RoundTrip(r)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", p.config.Health.Timeout)
		}
		return err
	}
	defer res.Body.Close()
	// Read, so that the connection can be used again.
	if _, err := io.CopyN(io.Discard, res.Body, 64<<10); err != nil && err != io.EOF {
		return err
	}
	wanted := p.config.Health.Statuses
	if len(wanted) > 0 && !slices.Contains(wanted, res.StatusCode) || len(wanted) == 0 && (res.StatusCode < 200 || res.StatusCode > 399) {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}
