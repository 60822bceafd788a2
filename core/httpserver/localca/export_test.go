package localca

import "time"

// OpenAt is Open with a clock.
func OpenAt(dir string, now func() time.Time) (*CA, error) { return open(dir, now) }
