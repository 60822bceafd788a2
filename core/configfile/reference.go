package configfile

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"time"
)

var documentedMark = regexp.MustCompile(`(?m)^([ ]*)#:(?: |$)`)

// Documented takes the marks "#: " off the beginnings of lines, which makes the commented defaults of a reference
// configuration live: "  #: key: value" becomes "  key: value".
func Documented(yamlText []byte) []byte {
	return documentedMark.ReplaceAll(bytes.ReplaceAll(yamlText, []byte("\r\n"), []byte("\n")), []byte("$1"))
}

// Keys returns the keys of a configuration type, such as core.Config{}, in the order of its fields. Entries of maps and elements
// of lists have one form for all: php.*.workers.max, http.routes[].match. A section stands before its keys.
func Keys(into any) []string {
	var keys []string
	walkKeys(reflect.TypeOf(into), "", nil, func(key string) { keys = append(keys, key) })
	return keys
}

// walkKeys calls yield for every key below t. above are the struct types around it, so that a type that contains itself ends.
func walkKeys(t reflect.Type, key string, above []reflect.Type, yield func(string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct && isSection(t) && !slices.Contains(above, t):
		above = append(slices.Clone(above), t)
		for _, f := range structFields(t) {
			inner := join(key, f.key)
			yield(inner)
			walkKeys(f.typ, inner, above, yield)
		}
	case t.Kind() == reflect.Map:
		walkKeys(t.Elem(), join(key, "*"), above, yield)
	case t.Kind() == reflect.Slice:
		walkKeys(t.Elem(), key+"[]", above, yield)
	}
}

// Diff compares two values of a configuration type and returns a line "key: got …, want …" for each key in which they differ.
func Diff(got, want any) []string {
	var lines []string
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.Type() != w.Type() {
		return []string{fmt.Sprintf("got a %s, want a %s", g.Type(), w.Type())}
	}
	diff(g, w, "", &lines)
	return lines
}

func diff(got, want reflect.Value, key string, lines *[]string) {
	t := got.Type()
	switch {
	case t.Kind() == reflect.Pointer && !got.IsNil() && !want.IsNil():
		diff(got.Elem(), want.Elem(), key, lines)
		return
	case t.Kind() == reflect.Struct && isSection(t):
		for _, f := range structFields(t) {
			diff(got.FieldByIndex(f.index), want.FieldByIndex(f.index), join(key, f.key), lines)
		}
		return
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		diffMaps(got, want, key, lines)
		return
	case t.Kind() == reflect.Slice && got.Len() == want.Len():
		for i := range got.Len() {
			diff(got.Index(i), want.Index(i), fmt.Sprintf("%s[%d]", key, i), lines)
		}
		return
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		*lines = append(*lines, fmt.Sprintf("%s: got %s, want %s", key, show(got), show(want)))
	}
}

func diffMaps(got, want reflect.Value, key string, lines *[]string) {
	names := map[string]reflect.Value{}
	for _, name := range slices.Concat(got.MapKeys(), want.MapKeys()) {
		names[name.String()] = name
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, w := got.MapIndex(names[name]), want.MapIndex(names[name])
		if g.IsValid() && w.IsValid() {
			diff(g, w, join(key, name), lines)
			continue
		}
		*lines = append(*lines, fmt.Sprintf("%s: got %s, want %s", join(key, name), show(g), show(w)))
	}
}

// show writes a value about as a configuration file does.
func show(v reflect.Value) string {
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return "nothing"
	}
	switch x := v.Interface().(type) {
	case encoding.TextMarshaler:
		if text, err := x.MarshalText(); err == nil {
			return string(text)
		}
	case time.Duration:
		return x.String()
	}
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return fmt.Sprint(v.Interface())
	}
	return string(text)
}
