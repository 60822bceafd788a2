package php

import (
	"net/http"
	"time"
)

// Hurry makes the supervisor decide faster. It must be called before Start.
func (p *Pool) Hurry(shrinkIdle, shrinkStep time.Duration) {
	p.pace.tick = 5 * time.Millisecond
	p.pace.shrinkIdle, p.pace.shrinkStep = shrinkIdle, shrinkStep
	p.pace.weigh = 20 * time.Millisecond
}

// TempPath is where bodies and uploads lie.
func (p *Pool) TempPath() string { return p.temp.path }

// Ahead sets when requests go ahead and when they are taken back. It must be called before Start.
func (p *Pool) Ahead(short, patience time.Duration) { p.pace.short, p.pace.patience = short, patience }

// Behind is how many requests lie in workers' pipes behind others, and Flights how many workers can have some.
func (p *Pool) Behind() (behind, flights int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w.ahead != nil {
			flights++
			behind += max(0, len(w.ahead.flight)-1)
		}
	}
	return behind, flights
}

// RoundTrip gives a request without a body to a worker and drops the answer: what the pool does, without what the handler adds.
func (p *Pool) RoundTrip(r *http.Request) error {
	j := getJob(p.dialect())
	defer putJob(j)
	j.setContext(r, false, nil)
	if err := p.submit(r.Context(), j); err != nil {
		return err
	}
	return j.err
}
