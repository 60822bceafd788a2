package main

import (
	"bytes"
	"encoding/json"
	"errors"

	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/edge-server/edge/plugins-wasm/plugintest"
)

// reference reads a value with encoding/json, by the same rules.
func reference(text []byte, depth int) (any, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errors.New("no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return referenceValue(d, depth)
}

func referenceValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	if n, ok := token.(json.Number); ok && !sane(n) {
		return nil, errLong
	}
	open, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == 0 {
		return nil, errDeep
	}
	list, members := []any{}, map[string]any{}
	for d.More() {
		if open == '[' {
			item, err := referenceValue(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
			continue
		}
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if _, twice := members[key]; twice {
			return nil, errTwice
		}
		if members[key], err = referenceValue(d, depth-1); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if open == '[' {
		return list, nil
	}
	return members, nil
}

var texts = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `nulL`, `truefalse`, `0`, `-0`, `00`, `01`, `-`, `+1`, `.5`, `1.`, `1.5`, `1e`, `1e+`, `1E-5`, `1e400`, `1e401`, `0x1`,
	`1e999999999999999999999`, strings.Repeat("1", 128), strings.Repeat("1", 129), `NaN`, `Infinity`, `""`, `"a`, `"`, `"\"`, `"\\"`, `"\n\t\b\f\r\/\""`, `"\x"`, `"\u00e4"`,
	`"\u00E4\u0000"`, `"\u00g0"`, `"\u12"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\ude00\ud83d"`, `"\ud83d\ud83d\ude00"`, `"\ud83d\u0041"`, `"\ud83d\u00"`, `"\ud83dx"`, "\"a\nb\"", "\"\x00\"",
	"\"\x7f\"", "\"ä\xff\"", "\"\xed\xa0\x80\"", "\"\ufffd\u2028\"", "\ufeff1", "1\x00", "\x001", "\v1", "\u00a01", " \n\r\t1 \n\r\t", `[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`, `[1,2`,
	`[1}`, `]`, `[[[[]]]]`, `[[[[[]]]]]`, `[[[[{}]]]]`, `{}`, `{ }`, `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{a:1}`, `{'a':1}`, `{1:1}`, `{"a":1 "b":2}`,
	`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"":1,"":1}`, `{"a":{"a":[{"a":1}]},"b":[1,"x",null,true,false,-1.5e3]}`, `1 1`, `{}{}`, `/**/1`, `"\ud800` + "\xff", `{"\ud800":1,"\ufffd":2}`,
}

// TestReader: what RFC 8259 allows is read as encoding/json reads it, and nothing else is.
func TestReader(t *testing.T) {
	t.Parallel()
	for _, text := range texts {
		compare(t, []byte(text))
	}
}

func FuzzReader(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(compare)
}

func compare(t *testing.T, text []byte) {
	want, wantErr := reference(text, 4)
	got, err := decodeValue(text, 4)
	switch {
	case (err == nil) != (wantErr == nil):
		t.Errorf("%q: %v, encoding/json says %v", text, err, wantErr)
	case err == nil && !reflect.DeepEqual(got, want):
		t.Errorf("%q: %#v, encoding/json says %#v", text, got, want)
	}
}

func TestReaderErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a":1,`:    "it ends too early",
		`tru`:        "it ends too early",
		`"a\`:        "it ends too early",
		`[1,]`:       `']' at byte 3 where a value should be`,
		`{"a":1,}`:   `'}' at byte 7 where a name in quotes should be`,
		`{"a"=1}`:    `'=' at byte 4 where a : should be`,
		`[1;2]`:      `';' at byte 2 where a , or a ] should be`,
		"\ufeff{}":   `'\ufeff' at byte 0 where a value should be`,
		"\"a\tb\"":   `'\t' at byte 2 where a character of a text, or its end, should be`,
		`"\q"`:       `'q' at byte 2 where an escape such as \n or \u00e4 should be`,
		`1 2`:        "something is behind its end",
		`[-]`:        `']' at byte 2 where a digit should be`,
		`[[[[[1]]]]`: "it is too deep",
	} {
		if _, err := decodeValue([]byte(text), 4); err == nil || err.Error() != want {
			t.Errorf("%q: %v; want %s", text, err, want)
		}
	}
}

// TestDense: bodies of many small values are checked with the fuel and the memory that plugins have. README.md has the figures.
func TestDense(t *testing.T) {
	t.Parallel()
	p := plugintest.Load(t, plugintest.Go(t, "json-schema"), config(t, `{"rules": [{"path": "/", "schema": {"properties": {"a": {"items": {"type": ["integer", "object", "array", "string"], "maxLength": 3}}}}}]}`))
	for one, size := range map[string]int{`1`: 256 << 10, `""`: 256 << 10, `[]`: 256 << 10, `{}`: 256 << 10, `{"a":1}`: 512 << 10, `"\n"`: 256 << 10, `{"id":12345,"name":"x"}`: 1 << 20, `1234567890`: 1 << 20} {
		body := `{"a":[` + one + strings.Repeat(","+one, (size-10)/(len(one)+1)-1) + `]}`
		res, _ := p.Do(request("POST", "/", "application/json", body), nil)
		if res.Code != 200 {
			t.Errorf("%d bytes of %s: %d %.200s", len(body), one, res.Code, res.Body)
		}
	}
}
