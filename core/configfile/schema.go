package configfile

import (
	"encoding"
	"maps"
	"math"
	"reflect"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Note is what a JSON schema says of a key that its Go type does not tell.
type Note struct {
	Description string
	Enum        []any // the values that the key takes, when there are no others
	Offers      []any // values that an editor offers; the key takes others, too
	Extra       map[string]any
}

// Place is where in the configuration a schema is asked for: a key as the function Keys writes it, and the field that holds it.
type Place struct {
	Key    string
	Struct reflect.Type // nil for elements of lists and entries of maps
	Field  string
}

// Patterns of texts. Each of them also lets ${NAME} through: what a variable holds is not known to an editor.
const (
	variablePattern = `\$\{`
	durationPattern = `^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$|^0$|\$\{`
	sizePattern     = `^\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*([KkMmGg]([Ii]?[Bb])?|[Bb])?\s*$|\$\{`
)

// Schema returns the JSON schema (draft 7) of the files that Parse reads into a value like into, whose fields hold the defaults. What the
// schema refuses, Parse refuses; Parse, and the Validate methods behind it, refuse more.
func Schema(into any, describe func(Place) Note) map[string]any {
	w := schemaWriter{describe}
	schema := w.schema(reflect.ValueOf(into), reflect.TypeOf(into), "")
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	return schema
}

type schemaWriter struct{ describe func(Place) Note }

// schema describes type t. value is the default, or invalid when there is none.
func (w schemaWriter) schema(value reflect.Value, t reflect.Type, key string) map[string]any {
	pointer := t.Kind() == reflect.Pointer
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
		if value.IsValid() {
			value = value.Elem() // invalid when it was nil
		}
	}
	s := w.usual(value, t, key)
	if pointer && !isSection(t) {
		allow(s, "null")
	}
	if pointer || t.Kind() == reflect.Struct || t.Kind() == reflect.Map {
		return withShort(s, t)
	}
	if value.IsValid() {
		if text, ok := defaultOf(value); ok {
			s["default"] = text
		}
	}
	return withShort(s, t)
}

func (w schemaWriter) usual(value reflect.Value, t reflect.Type, key string) map[string]any {
	switch {
	case t == durationType:
		return map[string]any{
			"type": []string{"string", "integer"}, "pattern": durationPattern, "minimum": 0, "maximum": 0,
			"patternErrorMessage": "Write a duration with its unit: 500ms, 30s, 1m30s.",
		}
	case t == reflect.TypeFor[bytesize.Size]():
		return map[string]any{
			"type": []string{"string", "number"}, "pattern": sizePattern, "minimum": 0,
			"patternErrorMessage": "Write a number of bytes, or one with a unit: 512KiB, 64MiB, 2GiB.",
		}
	case t.Kind() == reflect.Interface:
		return map[string]any{}
	case t.Kind() == reflect.Struct && isSection(t):
		return w.section(value, t, key)
	case t.Kind() == reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": w.inside(t.Elem(), join(key, "*"))}
	case t.Kind() == reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": w.inside(t.Elem(), key+"[]")}
	}
	return scalarSchema(t)
}

// section describes a struct: its keys and no others. Nothing behind the key of a section means that it is on.
func (w schemaWriter) section(value reflect.Value, t reflect.Type, key string) map[string]any {
	if !value.IsValid() {
		value = reflect.New(t).Elem()
		setDefaults(value)
	}
	properties := map[string]any{}
	for _, f := range structFields(t) {
		inner := join(key, f.key)
		field := t.FieldByIndex(f.index)
		owner := t
		if len(f.index) > 1 {
			owner = t.FieldByIndex(f.index[:len(f.index)-1]).Type
		}
		s := w.schema(value.FieldByIndex(f.index), f.typ, inner)
		properties[f.key] = annotate(s, w.describe(Place{inner, owner, field.Name}))
	}
	return map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
}

// inside describes entries of a map and elements of a list, which begin with their type's defaults.
func (w schemaWriter) inside(t reflect.Type, key string) map[string]any {
	return annotate(w.schema(reflect.Value{}, t, key), w.describe(Place{Key: key}))
}

func annotate(s map[string]any, n Note) map[string]any {
	switch {
	case len(n.Enum) > 0:
		kept := s
		s = map[string]any{"anyOf": []any{
			map[string]any{"enum": n.Enum}, map[string]any{"type": "string", "pattern": variablePattern},
		}}
		if d, ok := kept["default"]; ok {
			s["default"] = d
		}
	case len(n.Offers) > 0:
		s["anyOf"] = []any{map[string]any{"enum": n.Offers}, map[string]any{}}
	}
	if n.Description != "" {
		s["description"] = n.Description
	}
	maps.Copy(s, n.Extra)
	return s
}

func scalarSchema(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.String: // takes what is there as it is written
		return map[string]any{"type": []string{"string", "number", "boolean"}}
	case reflect.Bool:
		return map[string]any{"type": []string{"boolean", "string"}, "pattern": variablePattern, "patternErrorMessage": "Write true or false."}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": []string{"number", "string"}, "pattern": variablePattern, "patternErrorMessage": "Write a number without quotes."}
	}
	s := map[string]any{"type": []string{"integer", "string"}, "pattern": variablePattern, "patternErrorMessage": "Write a whole number without quotes."}
	switch {
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		s["minimum"] = 0
		if t.Bits() < 64 {
			s["maximum"] = uint64(math.MaxUint64) >> (64 - t.Bits())
		}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		if t.Bits() < 64 {
			s["minimum"], s["maximum"] = -1<<(t.Bits()-1), 1<<(t.Bits()-1)-1
		}
	default:
		return map[string]any{} // a type that only its own method reads
	}
	return s
}

// shortSamples are values in forms that methods may take instead of the usual one.
func shortSamples() map[string][]any {
	return map[string][]any{
		"string": {"text", "http://127.0.0.1:3000", "10.0.0.0/8"},
		"array":  {[]any{"text"}, []any{"http://127.0.0.1:3000"}},
		"number": {0.5}, "integer": {1, 404}, "boolean": {true},
	}
}

// withShort adds the short forms of a type, by trying which ones its method takes.
func withShort(s map[string]any, t reflect.Type) map[string]any {
	if !hasShortForm(t) || t == reflect.TypeFor[bytesize.Size]() {
		return s
	}
	if !reflect.PointerTo(t).Implements(unmarshalerType) {
		return allow(s, "string", "number", "boolean") // UnmarshalText gets any scalar as it is written
	}
	for _, form := range []string{"string", "array", "number", "integer", "boolean"} {
		for _, sample := range shortSamples()[form] {
			scratch := reflect.New(t).Elem()
			setDefaults(scratch)
			if unmarshalShort(scratch, sample) == nil {
				s = allow(s, form)
				if form == "array" {
					s["items"] = map[string]any{"type": "string"}
				}
				break
			}
		}
	}
	return s
}

// allow adds types to those of s. What s says of objects and lists does not bother the others.
func allow(s map[string]any, forms ...string) map[string]any {
	if types, _ := s["type"].([]string); len(types) > 0 {
		s["type"] = append(types, forms...)
	}
	return s
}

// defaultOf is a default as a file would say it; false where there is nothing to say.
func defaultOf(v reflect.Value) (any, bool) {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String(), true
	case encoding.TextMarshaler:
		text, err := x.MarshalText()
		return string(text), err == nil
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), v.Len() > 0
	case reflect.Slice:
		if v.Len() == 0 {
			return nil, false
		}
		list := make([]any, v.Len())
		for i := range list {
			element, ok := defaultOf(v.Index(i))
			if !ok {
				return nil, false
			}
			list[i] = element
		}
		return list, true
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16,
		reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return v.Interface(), true
	}
	return nil, false
}
