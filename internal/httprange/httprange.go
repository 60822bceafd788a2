// Package httprange decides whether a request is for a part of a file, before http.ServeContent reads which.
package httprange

import (
	"maps"
	"net/http"
	"strings"
)

// Request is r without a Range that means nothing here: http.ServeContent would refuse a unit that it does not know, which is to be
// ignored, and take one for another method than GET (RFC 9110, section 14.2). Units may be written in any case.
func Request(r *http.Request) *http.Request {
	lines := r.Header["Range"]
	if len(lines) == 0 {
		return r
	}
	unit, ranges, _ := strings.Cut(lines[0], "=")
	known := strings.EqualFold(unit, "bytes") && r.Method == http.MethodGet
	if known && unit == "bytes" {
		return r
	}
	other := *r
	other.Header = maps.Clone(r.Header)
	if known {
		other.Header["Range"] = []string{"bytes=" + ranges}
	} else {
		delete(other.Header, "Range")
	}
	return &other
}
