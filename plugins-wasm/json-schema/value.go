package main

import (
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// readTape reads one JSON value: UTF-8, no name twice in an object (applications differ in which one they take), no deeper
// than maxDepth, numbers that can be computed with. The bytes may be used again afterwards.
func readTape(body []byte, maxDepth int) (*tape, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("it is not UTF-8")
	}
	d := &tape{text: string(body)}
	if err := d.read(maxDepth); err != nil {
		return nil, err
	}
	return d, nil
}

// decodeValue is readTape for what is kept and gone through often: schemas.
func decodeValue(body []byte, maxDepth int) (any, error) {
	d, err := readTape(body, maxDepth)
	if err != nil {
		return nil, err
	}
	return d.tree(0), nil
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
func (d *tape) typeOf(at uint32) string {
	switch d.nodes[at].kind {
	case isNull:
		return "null"
	case isTrue, isFalse:
		return "boolean"
	case isText, isEscaped:
		return "string"
	case isArray:
		return "array"
	case isNumber:
		written := d.textOf(at)
		for i := range len(written) {
			if c := written[i]; (c == '.' || c == 'e' || c == 'E') && !rational(json.Number(written)).IsInt() {
				return "number"
			}
		}
		return "integer"
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
