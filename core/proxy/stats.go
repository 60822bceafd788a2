package proxy

import (
	"strings"
	"time"
)

// Stats is what a proxy has done.
type Stats struct {
	Name        string
	Upstreams   []UpstreamStats
	Unavailable uint64 // requests for which there was no upstream

	Mirrored, MirrorFailed, MirrorDropped uint64
}

// UpstreamStats is what one upstream has done.
type UpstreamStats struct {
	URL          string
	Healthy      bool // by the checks
	Ejected      bool // because of failures
	Active       int64
	Requests     uint64
	Retries      uint64 // of these, those that another upstream had failed with
	Failed       map[string]uint64
	Ejections    uint64
	ChecksFailed uint64
	Waited       time.Duration // for the heads of answers
	LastError    string
}

// Stats reads the counters.
func (p *Proxy) Stats() Stats {
	s := Stats{Name: p.name, Unavailable: p.unavailable.Load()}
	if p.mirror != nil {
		s.Mirrored, s.MirrorFailed, s.MirrorDropped = p.mirror.sent.Load(), p.mirror.failed.Load(), p.mirror.dropped.Load()
	}
	now := time.Now()
	for _, u := range p.upstreams {
		one := UpstreamStats{
			URL: u.config.URL, Healthy: !u.down.Load(), Ejected: u.isEjected(now), Active: u.active.Load(), Requests: u.requests.Load(),
			Retries: u.retried.Load(), Failed: map[string]uint64{}, Ejections: u.ejected.Load(), ChecksFailed: u.checksFailed.Load(),
			Waited: time.Duration(u.seconds.Load()),
		}
		for i := range reasons {
			one.Failed[reasons[i]] = u.failed[i].Load()
		}
		u.mu.Lock()
		one.LastError = u.lastError
		u.mu.Unlock()
		s.Upstreams = append(s.Upstreams, one)
	}
	return s
}

// Name is the route's.
func (p *Proxy) Name() string { return p.name }

// Describe is a line for people.
func (c *Config) Describe() string {
	urls := make([]string, len(c.Upstreams))
	for i := range urls {
		urls[i] = c.Upstreams[i].URL
	}
	return strings.Join(urls, ", ")
}
