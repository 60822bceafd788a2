package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// load is what wrk does in one run.
type load struct {
	program              string // path of wrk
	connections, threads int
	duration             time.Duration // whole seconds
	script               string        // a Lua script that makes the request; "" is a GET
}

// args are wrk's arguments; the URL follows.
func (l load) args() []string {
	args := []string{
		"-t" + strconv.Itoa(l.threads), "-c" + strconv.Itoa(l.connections),
		"-d" + strconv.Itoa(int(l.duration/time.Second)) + "s", "--timeout", "10s", "--latency",
	}
	if l.script != "" {
		args = append(args, "-s", l.script)
	}
	return args
}

// postScript is a Lua script for wrk that posts the content of a file.
func postScript(file string) string {
	return fmt.Sprintf("local f = assert(io.open(%q, 'rb'))\nwrk.method, wrk.body = 'POST', f:read('*a')\nf:close()\n"+
		"wrk.headers['Content-Type'] = %q\n", file, postType)
}

// wrkResult is what wrk prints at its end.
type wrkResult struct {
	requests uint64
	perSec   float64
	p50, p99 time.Duration
}

// wrk drives url. A refused, broken or late connection and an answer that is not 2xx or 3xx are errors: a server that
// fails requests has no throughput worth printing.
func (l load) wrk(ctx context.Context, url string) (wrkResult, error) {
	out, err := exec.CommandContext(ctx, l.program, append(l.args(), url)...).CombinedOutput()
	if err != nil {
		return wrkResult{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	result, err := parseWrk(string(out))
	if err != nil {
		return wrkResult{}, fmt.Errorf("%w; wrk printed:\n%s", err, out)
	}
	return result, nil
}

var (
	wrkFailures = regexp.MustCompile(`(?m)^ *(Socket errors:.*|Non-2xx or 3xx responses:.*)$`)
	wrkRequests = regexp.MustCompile(`(?m)^ *(\d+) requests in `)
	wrkPerSec   = regexp.MustCompile(`(?m)^Requests/sec: *([\d.]+)$`)
	wrkP50      = regexp.MustCompile(`(?m)^ *50% +(\S+) *$`)
	wrkP99      = regexp.MustCompile(`(?m)^ *99% +(\S+) *$`)
)

// parseWrk reads the output of wrk --latency.
func parseWrk(out string) (wrkResult, error) {
	if failure := wrkFailures.FindStringSubmatch(out); failure != nil {
		return wrkResult{}, fmt.Errorf("requests failed: %s", failure[1])
	}
	var r wrkResult
	var errs [4]error
	r.requests, errs[0] = find(out, wrkRequests, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	r.perSec, errs[1] = find(out, wrkPerSec, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	r.p50, errs[2] = find(out, wrkP50, parseWrkTime)
	r.p99, errs[3] = find(out, wrkP99, parseWrkTime)
	if err := errors.Join(errs[:]...); err != nil {
		return wrkResult{}, err
	}
	if r.requests == 0 {
		return wrkResult{}, errors.New("not one request was answered")
	}
	return r, nil
}

// find parses the first group of the pattern.
func find[T any](text string, pattern *regexp.Regexp, parse func(string) (T, error)) (T, error) {
	match := pattern.FindStringSubmatch(text)
	if match == nil {
		var none T
		return none, fmt.Errorf("no line matches %s", pattern)
	}
	return parse(match[1])
}

// parseWrkTime reads 629.00us, 1.77ms, 2.00s, 1.50m or 1.00h, which is Go's notation save for negative numbers and mixtures.
func parseWrkTime(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789.umsh") != "" {
		return 0, fmt.Errorf("%q is not a time", text)
	}
	return time.ParseDuration(text)
}
