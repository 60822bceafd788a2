package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeValue reads one JSON value: UTF-8, no name twice in an object (applications differ in which one they take), no deeper
// than maxDepth, numbers that can be computed with. Numbers are json.Number.
func decodeValue(text []byte, maxDepth int) (any, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := decode(d, maxDepth)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("it ends too early")
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something is behind its end")
	}
	return value, nil
}

func decode(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if n, ok := t.(json.Number); ok && !sane(n) {
		return nil, errors.New("a number is too long")
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == 0 {
		return nil, errors.New("it is too deep")
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			item, err := decode(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err = d.Token()
		return list, err
	}
	members := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string) // the decoder has seen to it
		if _, twice := members[key]; twice {
			return nil, errors.New("an object has a name twice")
		}
		if members[key], err = decode(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return members, err
}

// sane: 1e999999999 is a short text and a number that no memory holds.
func sane(n json.Number) bool {
	if len(n) > 128 {
		return false
	}
	if at := strings.IndexAny(string(n), "eE"); at >= 0 {
		exponent, err := strconv.Atoi(string(n[at+1:]))
		return err == nil && exponent >= -400 && exponent <= 400
	}
	return true
}

// rational is an exact number. The text is sane.
func rational(n json.Number) *big.Rat {
	if r, ok := new(big.Rat).SetString(string(n)); ok {
		return r
	}
	return new(big.Rat)
}

// typeOf is the type of a value as schemas call it. 1.0 is an integer.
func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case json.Number:
		if !strings.ContainsAny(string(v), ".eE") || rational(v).IsInt() {
			return "integer"
		}
		return "number"
	}
	return "object"
}

// canonical is a text that is the same for equal values: 1 and 1.0, and objects in any order.
func canonical(v any) string {
	var out strings.Builder
	writeCanonical(&out, v)
	return out.String()
}

func writeCanonical(out *strings.Builder, v any) {
	switch v := v.(type) {
	case json.Number:
		out.WriteString(rational(v).RatString())
	case string:
		out.WriteString(strconv.Quote(v))
	case bool:
		out.WriteString(strconv.FormatBool(v))
	case nil:
		out.WriteString("null")
	case []any:
		out.WriteByte('[')
		for _, item := range v {
			writeCanonical(out, item)
			out.WriteByte(',')
		}
		out.WriteByte(']')
	case map[string]any:
		out.WriteByte('{')
		for _, name := range sortedNames(v) {
			out.WriteString(strconv.Quote(name))
			out.WriteByte(':')
			writeCanonical(out, v[name])
			out.WriteByte(',')
		}
		out.WriteByte('}')
	}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
