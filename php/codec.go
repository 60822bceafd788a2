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

// featureNative is announced by workers that speak speaksNative. Those of the first releases announced "native": they wanted cookies
// parsed and multipart forms as JSON, and get protobuf.
const featureNative = "native-2"

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
	parsed  bool       // the body is a parsed form: a JSON tree, or the fields of parts
	parts   []formPart // of a multipart form, which each dialect renders by its own rules
	fields  bool       // of those, parts were rendered for sdk/php
	uploads []byte     // the tree or the list of files, or empty
	rawForm bool       // the body is a form as it came, which other dialects than speaksNative get as a tree
}

// setContext writes the context of r for the workers the pool has. What was in the buffer is gone.
func (j *job) setContext(r *http.Request, parsed bool, uploads []byte) {
	j.source = contextOf{request: r, parsed: parsed, uploads: uploads}
	j.writeContext()
}

func (j *job) writeContext() {
	j.buf = j.source.append(j.buf[:jobHeader], j.dialect)
	j.contextLen = len(j.buf) - jobHeader
}

func (c *contextOf) append(b []byte, to dialect) []byte {
	switch to {
	case speaksNative:
		return appendNative(b, c.request, c.nativeForm(), c.uploads)
	case speaksJSON:
		return appendJSONContext(b, c.request, c.parsed, c.uploads)
	default:
		return appendContext(b, c.request, c.parsed, c.uploads)
	}
}

func (c *contextOf) nativeForm() nativeForm {
	switch {
	case c.fields:
		return formFields
	case c.parsed:
		return formTree
	}
	return formNone
}

// render makes of the parts of a multipart form what that dialect gets. With an error it is what came before it.
func (c *contextOf) render(to dialect) (body []byte, err error) {
	c.fields = to == speaksNative
	if c.fields {
		body, c.uploads = nativeParts(c.parts)
		return body, nil
	}
	body, c.uploads, err = trees(c.parts)
	return body, err
}

// speak makes sure that the context is in the worker's dialect. The handler waits for the job, so its request may be read.
func (j *job) speak(to dialect) {
	if j.dialect == to {
		return
	}
	from := j.dialect
	j.dialect = to
	body := j.source.translate(j.buf[jobHeader+j.contextLen:], from, to)
	b := j.source.append(make([]byte, jobHeader, 2*len(j.buf)), to)
	j.contextLen = len(b) - jobHeader
	j.buf = to.appendBody(b, body, j.source.parsed)
}

// translate makes of a body what it has to be in another dialect. It is too late to refuse a form: of one that has no tree, workers
// get what could be read, or the form as it is.
func (c *contextOf) translate(body []byte, from, to dialect) []byte {
	if c.parts != nil {
		body, _ = c.render(to)
		return body
	}
	if from != speaksNative {
		return body
	}
	method := c.request.Method
	switch {
	case method == http.MethodHead || method == http.MethodOptions:
		return nil
	case !c.rawForm:
		return body
	case !hasFormBody(method):
		c.parsed, c.rawForm = true, false
		return nil
	}
	f, err := parseURLEncoded(body)
	if err != nil {
		return body
	}
	c.parsed, c.rawForm = true, false
	return f.body
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
