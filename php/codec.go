package php

import (
	"net/http"

	"github.com/edge-server/edge/internal/frame"
)

// dialect is how a worker reads the context of a request. A worker says at its handshake what it speaks (worker.speaks), and the
// pool writes each context for the workers that joined last (Pool.speaks): nearly always for the one that will take it. A job that
// meets a worker of another kind, as between two generations of an application, is written anew (job.speak).
type dialect uint8

const (
	speaksProto  dialect = iota // http.v1.Request: workers of RoadRunner's packages
	speaksNative                // PHP's own serialization: sdk/php (native.go)
	speaksJSON                  // RoadRunner's before protobuf (codec_json.go)
)

// featureNative is announced by workers that speak speaksNative.
const featureNative = "native"

// dialect is that of the workers that joined last.
func (p *Pool) dialect() dialect { return dialect(p.speaks.Load()) }

// flag says in a frame's header how its context is written.
func (d dialect) flag() byte {
	switch d {
	case speaksNative:
		return frame.FlagRaw
	case speaksJSON:
		return frame.FlagJSON
	}
	return frame.FlagProto
}

// contextOf is what a context is made of, kept to write it anew.
type contextOf struct {
	request *http.Request
	parsed  bool   // the body is a JSON tree
	uploads []byte // the tree of files, or empty
	rawForm bool   // the body is a form as it came, which other dialects than speaksNative get as a tree
}

// setContext writes the context of r for the workers the pool has. What was in the buffer is gone.
func (j *job) setContext(r *http.Request, parsed bool, uploads []byte) {
	j.source = contextOf{request: r, parsed: parsed, uploads: uploads}
	j.buf = j.source.append(j.buf[:jobHeader], j.dialect)
	j.contextLen = len(j.buf) - jobHeader
}

func (c contextOf) append(b []byte, to dialect) []byte {
	switch to {
	case speaksNative:
		return appendNative(b, c.request, c.parsed, c.uploads)
	case speaksJSON:
		return appendJSONContext(b, c.request, c.parsed, c.uploads)
	default:
		return appendContext(b, c.request, c.parsed, c.uploads)
	}
}

// speak makes sure that the context is in the worker's dialect. The handler waits for the job, so its request may be read.
func (j *job) speak(to dialect) {
	if j.dialect == to {
		return
	}
	j.dialect = to
	body := j.buf[jobHeader+j.contextLen:]
	if j.source.rawForm {
		// A tree that is too deep for the parser is left as it is.
		if f, err := parseURLEncoded(body); err == nil {
			body, j.source.parsed, j.source.rawForm = f.body, true, false
		}
	}
	b := j.source.append(make([]byte, jobHeader, 2*len(j.buf)), to)
	j.contextLen = len(b) - jobHeader
	j.buf = to.appendBody(b, body, j.source.parsed)
}

// appendBody appends a body behind its context. Who reads JSON decodes the tree of a form without a look whether it is there.
func (d dialect) appendBody(b, body []byte, parsed bool) []byte {
	if d == speaksJSON && parsed && len(body) == 0 {
		return append(b, emptyTree...)
	}
	return append(b, body...)
}

// withBodyFile appends the name of the file that the body is in to the context b. It may do so again, from the same beginning.
func (d dialect) withBodyFile(b []byte, name string) []byte {
	switch d {
	case speaksNative:
		return appendNativeBodyFile(b, name)
	case speaksJSON:
		return appendJSONAttribute(b, "edge.body_file", name)
	}
	return appendAttribute(b, "edge.body_file", name)
}
