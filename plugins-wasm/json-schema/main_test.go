package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

const orders = `{
	"type": "object", "required": ["items", "customer"], "additionalProperties": false,
	"properties": {
		"customer": {"$ref": "#/$defs/customer"},
		"items": {"type": "array", "minItems": 1, "maxItems": 3, "items": {
			"type": "object", "required": ["sku"],
			"properties": {"sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}, "price": {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.01}}
		}},
		"note/~x": {"type": ["string", "null"], "maxLength": 5},
		"when": {"format": "date-time"}
	},
	"$defs": {"customer": {"oneOf": [{"type": "integer"}, {"type": "object", "required": ["name"]}]}}
}`

// config is the configuration as edge.yaml would hand it over.
func config(t *testing.T, text string) any {
	t.Helper()
	var c any
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func request(method, uri, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, uri, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

func TestPlugin(t *testing.T) {
	t.Parallel()
	module := plugintest.Go(t, "json-schema")
	p := plugintest.Load(t, module, config(t, `{"max_body": 2000, "max_depth": 8, "max_errors": 3, "rules": [
		{"path": "/orders/*", "schema": `+orders+`},
		{"path": "/loose", "methods": ["POST"], "other_types": "pass", "status": 400, "schema": {"type": "array"}}
	]}`))
	const good = `{"customer": 1, "items": [{"sku": "AB-1", "price": 9.99}]}`
	for _, row := range []struct {
		name, method, uri, contentType, body string
		status                               int
		want                                 string // of the answer
	}{
		{"good", "POST", "/orders/1", "application/json", good, 200, ""},
		{"good, of a +json type", "POST", "/orders", "application/vnd.shop+json; charset=UTF-8", good, 200, ""},
		{"another method", "GET", "/orders/1", "", "", 200, ""},
		{"another path", "POST", "/ordersandmore", "application/json", "{", 200, ""},
		{"a missing member", "POST", "/orders/1", "application/json", `{"items": [{"sku": "AB-1"}]}`, 422, `"errors":[{"pointer":"#/customer","detail":"is missing"}]`},
		{"deep", "PUT", "/orders/1", "application/json", `{"customer": {"name": 1}, "items": [{"sku": "AB-1"}, {"sku": "x", "price": 0.001}]}`, 422,
			`"errors":[{"pointer":"#/items/1/sku","detail":"must match ^[A-Z]{2}-[0-9]+$"},{"pointer":"#/items/1/price","detail":"must be a multiple of 0.01"}]`},
		{"oneOf", "POST", "/orders/1", "application/json", `{"customer": "x", "items": [{"sku": "AB-1"}]}`, 422, `{"pointer":"#/customer","detail":"matches none of the 2 schemas of oneOf"}`},
		{"a pointer with marks", "POST", "/orders/1", "application/json", `{"customer": 1, "items": [{"sku": "AB-1"}], "note/~x": "too long"}`, 422, `"#/note~1~0x","detail":"must have at most 5 characters"`},
		{"unknown", "POST", "/orders/1", "application/json", `{"customer": 1, "items": [{"sku": "AB-1"}], "ü": 1}`, 422, `"#/%C3%BC","detail":"is not known here"`},
		{"at most max_errors", "POST", "/orders/1", "application/json", `{"a":1,"b":1,"c":1,"d":1}`, 422, `"pointer":"#/a"`},
		{"another spelling of the path", "POST", "/x/../%6Frders//1", "application/json", `[]`, 422, "must be object, is array"},
		{"no JSON", "POST", "/orders/1", "application/json", `{"customer": 1,`, 400, "it ends too early"},
		{"empty", "POST", "/orders/1", "application/json", ``, 400, "it ends too early"},
		{"more behind", "POST", "/orders/1", "application/json", good + "1", 400, "something is behind its end"},
		{"a name twice", "POST", "/orders/1", "application/json", `{"a": 1, "a": 2}`, 400, "an object has a name twice"},
		{"too deep", "POST", "/orders/1", "application/json", strings.Repeat("[", 900), 400, "it is too deep"},
		{"a huge number", "POST", "/orders/1", "application/json", `{"customer": 1e999999999}`, 400, "a number is too long"},
		{"no UTF-8", "POST", "/orders/1", "application/json", "\"\xff\"", 400, "it is not UTF-8"},
		{"too large", "POST", "/orders/1", "application/json", `"` + strings.Repeat("x", 2000) + `"`, 413, "larger than 2000 bytes"},
		{"another type", "POST", "/orders/1", "text/plain", good, 415, "must be of type application/json, *+json"},
		{"no type", "POST", "/orders/1", "", good, 415, "must be of type"},
		{"another charset", "POST", "/orders/1", "application/json; charset=utf-16", good, 415, "must be of type"},
		{"another type that passes", "POST", "/loose/", "text/plain", "{", 200, ""},
		{"its own status", "POST", "/loose", "application/json", "{}", 400, `"title":"Bad Request","status":400,"detail":"the body does not match the schema"`},
	} {
		var seen string
		res, passed := p.Do(request(row.method, row.uri, row.contentType, row.body), func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			seen = string(body)
		})
		if res.Code != row.status || !strings.Contains(res.Body.String(), row.want) || (passed != nil) != (row.status == 200) {
			t.Errorf("%s: %d %s; want %d %s", row.name, res.Code, res.Body, row.status, row.want)
		}
		if row.status == 200 && seen != row.body {
			t.Errorf("%s: the rest of the chain saw %q", row.name, seen)
		}
		if row.status != 200 && res.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: content-type %s", row.name, res.Header().Get("Content-Type"))
		}
		if row.name == "at most max_errors" && strings.Count(res.Body.String(), "pointer") != 3 {
			t.Errorf("%s: %s", row.name, res.Body)
		}
	}
	zipped := request("POST", "/orders/1", "application/json", good)
	zipped.Header.Set("Content-Encoding", "gzip")
	if res, _ := p.Do(zipped, nil); res.Code != 415 {
		t.Errorf("compressed: %d", res.Code)
	}
	if _, err := plugintest.TryLoad(t, module, config(t, `{"rules": [{"path": "/a", "schema": {"properties": {"x": {"typ": "string"}}}}]}`)); err == nil ||
		!strings.Contains(err.Error(), "config.rules[0].schema at #/properties/x/typ: this keyword is not known") {
		t.Errorf("an unknown keyword: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	schema := func(s string) string { return `{"rules": [{"path": "/", "schema": ` + s + `}]}` }
	for text, want := range map[string]string{
		``:                                            "config.rules: no rule",
		`{}`:                                          "config.rules: no rule",
		`{"rule": []}`:                                "config.rule: there is no such key; there are rules",
		`{"rules": [{"path": "/"}]}`:                  "config.rules[0].schema: it is missing",
		`{"rules": [{"path": "/a/"}]}`:                `config.rules[0].path: "/a/" is no path`,
		`{"rules": [{"path": "/a*"}]}`:                "config.rules[0].path",
		`{"max_depth": 0}`:                            "config.max_depth: 0 is not between 1 and 1000",
		schema(`1`):                                   "schema at #: a schema is an object, true or false",
		schema(`{"type": "int"}`):                     `schema at #/type: "int" is no type`,
		schema(`{"format": "phone"}`):                 "schema at #/format: phone is none of date, date-time",
		schema(`{"pattern": "("}`):                    "schema at #/pattern: error parsing regexp",
		schema(`{"pattern": "(?=a)"}`):                "schema at #/pattern: error parsing regexp",
		schema(`{"$ref": "#/$defs/x"}`):               "schema at #/$ref: #/$defs/x leads nowhere",
		schema(`{"$ref": "http://x/y"}`):              "schema at #/$ref: http://x/y is not within this schema",
		schema(`{"$ref": "#"}`):                       "it would never end",
		schema(`{"allOf": [{"not": {"$ref": "#"}}]}`): "it would never end",
		schema(`{"minLength": -1}`):                   "schema at #/minLength: it must be a whole number from 0 on",
		schema(`{"multipleOf": 0}`):                   "schema at #/multipleOf: it must be above 0",
		schema(`{"anyOf": []}`):                       "schema at #/anyOf: it must be a list of schemas that is not empty",
		schema(`{"minContains": 1}`):                  "minContains and maxContains need contains",
		schema(`{"$schema": "http://json-schema.org/draft-07/schema#"}`): "schema at #/$schema: it is not https://json-schema.org/draft/2020-12/schema",
	} {
		if _, err := parseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
	// A list of lists leads to itself, but through the value.
	if _, err := parseConfig([]byte(schema(`{"type": "array", "items": {"$ref": "#"}}`))); err != nil {
		t.Error(err)
	}
}

func TestKeywords(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ schema, good, bad string }{
		{`true`, `1`, ``},
		{`{"type": "integer"}`, `1.0`, `1.5`},
		{`{"type": ["null", "boolean"]}`, `null`, `0`},
		{`{"enum": [1, {"a": [1, 2], "b": null}]}`, `{"b": null, "a": [1.0, 2]}`, `{"a": [2, 1], "b": null}`},
		{`{"const": "a"}`, `"a"`, `"b"`},
		{`{"minimum": 1.1, "maximum": 3}`, `1.1`, `1.0999999999999999999`},
		{`{"exclusiveMaximum": 3}`, `2.9`, `3`},
		{`{"minimum": -3, "maximum": 1e2}`, `-3`, `-4`},
		{`{"maximum": 1e2}`, `100`, `101`},
		{`{"minimum": 0.5}`, `1`, `-1`},
		{`{"maximum": 1000000000000000000000}`, `999999999999999999`, `1000000000000000000001`},
		{`{"multipleOf": 3}`, `-9`, `10`},
		{`{"multipleOf": 3}`, `9000000000000000000000`, `9000000000000000000001`},
		{`{"multipleOf": 0.1}`, `0.3`, `0.35`},
		{`{"minLength": 2, "maxLength": 3}`, `"äöü"`, `"ä"`},
		{`{"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}`, `["a", 1]`, `["a", "b"]`},
		{`{"contains": {"type": "integer"}, "maxContains": 1}`, `["a", 1]`, `[1, 2]`},
		{`{"contains": {"type": "integer"}}`, `[1]`, `["a"]`},
		{`{"contains": false, "minContains": 0}`, `[1]`, ``},
		{`{"uniqueItems": true}`, `[1, "1", [1]]`, `[{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]`},
		{`{"minProperties": 1, "maxProperties": 1}`, `{"a": 1}`, `{}`},
		{`{"patternProperties": {"^x-": {"type": "string"}}, "additionalProperties": {"type": "integer"}}`, `{"x-a": "b", "c": 1}`, `{"x-a": 1}`},
		{`{"propertyNames": {"maxLength": 2}}`, `{"ab": 1}`, `{"abc": 1}`},
		{`{"dependentRequired": {"a": ["b"]}}`, `{"a": 1, "b": 1}`, `{"a": 1}`},
		{`{"dependentSchemas": {"a": {"required": ["b"]}}}`, `{"b": 1}`, `{"a": 1}`},
		{`{"allOf": [{"minimum": 1}, {"maximum": 2}]}`, `1`, `3`},
		{`{"anyOf": [{"type": "string"}, {"minimum": 2}]}`, `2`, `1`},
		{`{"oneOf": [{"minimum": 1}, {"minimum": 2}]}`, `1`, `2`},
		{`{"not": {"type": "null"}}`, `1`, `null`},
		{`{"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}`, `"a"`, `0`},
		{`{"format": "ipv6"}`, `"::1"`, `"::1%eth0"`},
		{`{"format": "uuid"}`, `"2EB8AA08-AA98-11EA-B4AA-73B441D16380"`, `"2eb8aa08aa9811eab4aa73b441d16380"`},
		{`{"format": "email"}`, `"joe.b@example.com"`, `"joe b@example.com"`},
		{`{"$defs": {"a/b": {"type": "string"}}, "items": {"$ref": "#/$defs/a~1b"}}`, `["a"]`, `[1]`},
	} {
		s, err := parseConfig([]byte(`{"rules": [{"path": "/", "schema": ` + row.schema + `}]}`))
		if err != nil {
			t.Errorf("%s: %v", row.schema, err)
			continue
		}
		for text, want := range map[string]bool{row.good: true, row.bad: false} {
			if text == "" {
				continue
			}
			d, err := readTape([]byte(text), 10)
			if err != nil {
				t.Fatal(err)
			}
			f := findings{max: 5}
			loud, silent := s.rules[0].schema.check(value{d, 0}, nil, &f), s.rules[0].schema.check(value{d, 0}, nil, nil)
			if loud != want || silent != want || loud != (len(f.list) == 0) {
				t.Errorf("%s of %s: %v, %v, %v; want %v", row.schema, text, loud, silent, f.list, want)
			}
		}
	}
}

// FuzzCheck: whatever schema and body come, there is an answer.
func FuzzCheck(f *testing.F) {
	f.Add(orders, `{"customer": 1, "items": [{"sku": "AB-1", "price": 9.99}]}`)
	f.Add(`{"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#"}}}}`, `[[[1]]]`)
	f.Add(`{"multipleOf": 1e-400}`, `1e400`)
	f.Fuzz(func(t *testing.T, schema, body string) {
		s, err := parseConfig([]byte(`{"rules": [{"path": "/", "schema": ` + schema + `}]}`))
		if err != nil {
			return
		}
		d, err := readTape([]byte(body), 20)
		if err != nil {
			return
		}
		found := findings{max: 3}
		if ok := s.rules[0].schema.check(value{d, 0}, nil, &found); ok != (len(found.list) == 0) || len(found.list) > 3 {
			t.Errorf("%s of %s: %v, %v", schema, body, ok, found.list)
		}
	})
}
