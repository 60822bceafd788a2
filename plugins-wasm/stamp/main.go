// Stamp writes into each request which plugin saw it, in what language it is written, and how long it took:
//
//	X-Edge-Stamp: plugin=stamp; lang=Go; spent=12.3
//
// spent is in microseconds, measured inside of the guest. See README.md.
package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
)

const header = "X-Edge-Stamp"

func init() {
	keep := false
	edge.CheckConfig(func(config []byte) error {
		if keep = string(config) == "append"; !keep && len(config) > 0 {
			return errors.New("config: must be the text append, or nothing; README.md of stamp has the two")
		}
		return nil
	})
	edge.Handle(func(r *edge.Request) edge.Result { return stamp(r, keep) })
}

func main() {}

// stamp removes what a client sent under the header's name, unless keep says that stamps of earlier plugins are there, and
// adds its own.
func stamp(r *edge.Request, keep bool) edge.Result {
	began := time.Now()
	if !keep {
		r.Header().Del(header)
	}
	r.Header().Add(header, line(time.Since(began)))
	return edge.Next
}

func line(spent time.Duration) string {
	buf := make([]byte, 0, 48)
	buf = append(buf, "plugin=stamp; lang=Go; spent="...)
	buf = strconv.AppendFloat(buf, float64(spent.Nanoseconds())/1000, 'f', 1, 64)
	return string(buf)
}
