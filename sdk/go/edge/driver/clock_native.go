//go:build !wasip1

package driver

import "time"

func operationTime() time.Time { return time.Now() }
