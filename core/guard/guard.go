// Package guard is the middleware that stands between clients and what a route is for:
//
//	concurrency.go  how many requests run at once (Gate)
//	basicauth.go    who has a password (BasicAuth), passwords.go how they are checked
//	access.go       which addresses may come (Access)
//	limits.go       how large a body may be and how long an answer may take, of one route (Limits)
//	hosts.go        for which hosts there is anything at all (Hosts)
//	errorpages.go   what clients see when the server has to answer by itself (Pages), page.go one of them
//	headers.go      headers by which browsers protect users (SecurityHeaders)
package guard

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// refuse answers a request that goes no further. Its body is not read, so an HTTP/1 connection ends with the answer.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	http.Error(w, strconv.Itoa(status)+" "+text, status)
}

// seconds is a duration for Retry-After, of at least one.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))
}

// errorStatus checks the status of a refusal.
func errorStatus(status int) error {
	if status < 400 || status > 599 {
		return fmt.Errorf("status: must be between 400 and 599, got %d", status)
	}
	return nil
}
