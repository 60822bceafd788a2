package php

import (
	"context"
	"net/http"
	"slices"
	"strings"
)

// attribute is a value that something before PHP attached to a request.
type attribute struct {
	name   string
	values []string
}

type attributesKey struct{}

// WithAttribute returns r with an attribute, which PHP finds among the attributes of the request: a string, or a list when there
// are several values (RoadRunner's packages take the first of them). It is how middleware hands on what it found out, such as the
// user who is logged in; no client can set one. An attribute of the same name is replaced, and without values removed.
func WithAttribute(r *http.Request, name string, values ...string) *http.Request {
	name = strings.ToValidUTF8(name, "\uFFFD") // PHP refuses a context whose names are no text
	list := slices.DeleteFunc(slices.Clone(attributesOf(r)), func(a attribute) bool { return a.name == name })
	if len(values) > 0 {
		list = append(list, attribute{name, slices.Clone(values)})
	}
	return r.WithContext(context.WithValue(r.Context(), attributesKey{}, list))
}

// WithAttributes is WithAttribute for several of one value each, given as name, value, name, value, which replace no others. Names must be
// UTF-8.
func WithAttributes(r *http.Request, pairs ...string) *http.Request {
	have := attributesOf(r)
	list := append(make([]attribute, 0, len(have)+len(pairs)/2), have...)
	for i := 0; i+1 < len(pairs); i += 2 {
		list = append(list, attribute{pairs[i], pairs[i+1 : i+2 : i+2]})
	}
	return r.WithContext(context.WithValue(r.Context(), attributesKey{}, list))
}

// attributesOf returns the attributes in the order in which they were attached. They must not be changed.
func attributesOf(r *http.Request) []attribute {
	list, _ := r.Context().Value(attributesKey{}).([]attribute)
	return list
}
