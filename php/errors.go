package php

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// What can go wrong with a request. statusFor says what the client sees of each.
var (
	// ErrQueueFull means that queue.max requests were waiting already.
	ErrQueueFull = errors.New("too many requests wait for a php worker")
	// ErrQueueTimeout means that no worker was free for queue.timeout.
	ErrQueueTimeout = errors.New("no php worker was free in time")
	// ErrStopped means that the pool is not running, or stopped before the request was answered.
	ErrStopped = errors.New("the php pool is stopped")
	// ErrTimeout means that PHP took longer than exec_timeout; its worker was killed.
	ErrTimeout = errors.New("php took longer than exec_timeout")
	// ErrCrashed means that the worker died with the request in it.
	ErrCrashed = errors.New("the php worker died")
	// ErrBadAnswer means that the worker's answer cannot be sent on.
	ErrBadAnswer = errors.New("the php worker's answer is unusable")
	// ErrApplication means that the worker reported an error instead of an answer.
	ErrApplication = errors.New("the php application reported an error")
	// ErrTooLarge means a body beyond a limit.
	ErrTooLarge = errors.New("the request body is too large")
	// ErrBadRequest means a body that is not what its content type says, or a host that no URI can have.
	ErrBadRequest = errors.New("the request is malformed")

	errBadHost = fmt.Errorf("%w: its host is none", ErrBadRequest)

	// errClientGone means that nobody waits for the answer any more.
	errClientGone = errors.New("the client went away")
)

// statusClientGone is what access logs show for a client that left; nginx made the number known.
const statusClientGone = 499

// statusFor chooses the status for a request that got no answer from PHP.
func statusFor(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, ErrQueueFull), errors.Is(err, ErrQueueTimeout), errors.Is(err, ErrStopped),
		errors.Is(err, ErrOverloaded):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case errors.Is(err, ErrCrashed), errors.Is(err, ErrBadAnswer), errors.Is(err, ErrUnreachable):
		return http.StatusBadGateway
	case errors.Is(err, ErrTooLarge), errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrBadRequest) && errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	case errors.Is(err, ErrBadRequest):
		return http.StatusBadRequest
	case errors.Is(err, errFileMissing), errors.Is(err, ErrNoScript):
		return http.StatusNotFound
	case errors.Is(err, errFileForbidden):
		return http.StatusForbidden
	case errors.Is(err, errClientGone), errors.Is(err, context.Canceled):
		return statusClientGone
	}
	return http.StatusInternalServerError
}
