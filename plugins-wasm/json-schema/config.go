package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/edge-server/edge/plugins-wasm/shared/strict"
)

// settings are the rules, ready for use.
type settings struct {
	rules                        []*rule
	maxBody, maxDepth, maxErrors int

	buffer []byte // for bodies; an instance serves one request at a time
}

// rule is what a body must be where.
type rule struct {
	methods    []string
	path       string
	types      []string
	passOthers bool
	status     int
	schema     *schema
}

// document is the configuration as edge.yaml has it.
type document struct {
	Rules []struct {
		Methods    []string        `json:"methods"`
		Path       string          `json:"path"`
		Types      []string        `json:"types"`
		OtherTypes string          `json:"other_types"`
		Status     int             `json:"status"`
		Schema     json.RawMessage `json:"schema"`
	} `json:"rules"`
	MaxBody   *int `json:"max_body"`
	MaxDepth  *int `json:"max_depth"`
	MaxErrors *int `json:"max_errors"`
}

func parseConfig(text []byte) (*settings, error) {
	var doc document
	if err := strict.Read(text, &doc); err != nil {
		return nil, err
	}
	s := &settings{maxBody: 1 << 20, maxDepth: 64, maxErrors: 20}
	var errs []error
	for _, limit := range []struct {
		name      string
		given     *int
		to        *int
		low, high int
	}{
		{"max_body", doc.MaxBody, &s.maxBody, 1, 64 << 20},
		{"max_depth", doc.MaxDepth, &s.maxDepth, 1, 1000},
		{"max_errors", doc.MaxErrors, &s.maxErrors, 1, 1000},
	} {
		if limit.given == nil {
			continue
		}
		if *limit.to = *limit.given; *limit.to < limit.low || *limit.to > limit.high {
			errs = append(errs, fmt.Errorf("config.%s: %d is not between %d and %d", limit.name, *limit.to, limit.low, limit.high))
		}
	}
	if len(doc.Rules) == 0 {
		errs = append(errs, errors.New("config.rules: no rule: nothing would be checked"))
	}
	for n, given := range doc.Rules {
		r := &rule{methods: given.Methods, path: given.Path, types: given.Types, status: given.Status, passOthers: given.OtherTypes == "pass"}
		if err := r.complete(given.OtherTypes, given.Schema); err != nil {
			errs = append(errs, fmt.Errorf("config.rules[%d].%w", n, err))
		}
		s.rules = append(s.rules, r)
	}
	return s, errors.Join(errs...)
}

// complete fills in what is usual, and compiles the schema.
func (r *rule) complete(otherTypes string, text json.RawMessage) (err error) {
	if r.methods == nil {
		r.methods = []string{"POST", "PUT", "PATCH"}
	}
	if r.types == nil {
		r.types = []string{"application/json", "*+json"}
	}
	if r.status == 0 {
		r.status = 422
	}
	tree, isTree := strings.CutSuffix(r.path, "/*")
	switch {
	case !strings.HasPrefix(r.path, "/") || strings.Contains(tree, "*") || !isTree && cleanPath(r.path) != r.path || isTree && tree != "" && cleanPath(tree) != tree:
		return fmt.Errorf("path: %q is no path such as /api/users, or /api/* for all below; without %%, // and a / at its end", r.path)
	case r.status != 400 && r.status != 422:
		return fmt.Errorf("status: %d is neither 400 nor 422", r.status)
	case otherTypes != "" && otherTypes != "pass" && otherTypes != "refuse":
		return fmt.Errorf("other_types: %q is neither refuse nor pass", otherTypes)
	case len(r.methods) == 0:
		return errors.New("methods: an empty list is for no request; leave the key out for POST, PUT and PATCH")
	case len(r.types) == 0:
		return errors.New("types: an empty list is for no request; leave the key out for JSON")
	case len(text) == 0:
		return errors.New("schema: it is missing")
	}
	for i, method := range r.methods {
		if method != strings.ToUpper(method) || method == "" {
			return fmt.Errorf("methods[%d]: %q: methods are in capitals", i, method)
		}
	}
	for i, name := range r.types {
		if name != strings.ToLower(name) || !strings.ContainsAny(name, "/+") {
			return fmt.Errorf("types[%d]: %q is no type such as application/json or *+json", i, name)
		}
	}
	value, err := decodeValue(text, 200)
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	if r.schema, err = compile(value); err != nil {
		return fmt.Errorf("schema%w", err)
	}
	return nil
}
