package php

import "time"

// Hurry makes the supervisor decide faster. It must be called before Start.
func (p *Pool) Hurry(shrinkIdle, shrinkStep time.Duration) {
	p.pace.tick = 5 * time.Millisecond
	p.pace.shrinkIdle, p.pace.shrinkStep = shrinkIdle, shrinkStep
}

// TempPath is where bodies and uploads lie.
func (p *Pool) TempPath() string { return p.temp.path }
