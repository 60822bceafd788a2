package pluginkit

import "fmt"

// Size writes a number of bytes for people: 512 bytes, 21.3 KiB, 4.0 MiB.
func Size[N int | int64 | uint64](n N) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
