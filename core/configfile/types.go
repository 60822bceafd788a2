package configfile

import (
	"reflect"
	"strings"

	"github.com/edge-server/edge/internal/bytesize"
)

// field is a key of a struct.
type field struct {
	key   string
	typ   reflect.Type
	index []int
}

// structFields returns the keys of a struct type in the order of its fields, those of squashed structs included.
func structFields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("koanf")
		if !ok || !f.IsExported() && !f.Anonymous {
			continue
		}
		key, options, _ := strings.Cut(tag, ",")
		switch {
		case options == "squash" && f.Type.Kind() == reflect.Struct:
			for _, inner := range structFields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				all = append(all, inner)
			}
		case key != "" && key != "-":
			all = append(all, field{key, f.Type, []int{i}})
		}
	}
	return all
}

func (r *reader) structFields(t reflect.Type) []field {
	fields, ok := r.fields[t]
	if !ok {
		fields = structFields(t)
		r.fields[t] = fields
	}
	return fields
}

func (r *reader) field(t reflect.Type, key string) (field, bool) {
	for _, f := range r.structFields(t) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

func (r *reader) keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range r.structFields(t) {
		keys = append(keys, f.key)
	}
	return keys
}

// setDefaults gives a zero value its type's defaults.
func setDefaults(v reflect.Value) {
	if !v.Type().Implements(defaulterType) || v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		return
	}
	if d := reflect.ValueOf(v.Interface().(defaulter).Defaults()); d.IsValid() && d.Type() == v.Type() {
		v.Set(d)
	}
}

// expected describes the values of a type to a person.
type expected struct {
	noun, example string
}

func expectation(t reflect.Type) expected {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case durationType:
		return expected{"a duration", "10s, 1m30s or 500ms"}
	case reflect.TypeFor[bytesize.Size]():
		return expected{"a size", "4096, 512KiB or 64MiB"}
	}
	switch t.Kind() {
	case reflect.String:
		return expected{"a text", `a text such as "hello"`}
	case reflect.Bool:
		return expected{"a yes or no", "true or false"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return expected{"a whole number", "a number such as 8"}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return expected{"a whole number from 0 up", "a number such as 8"}
	case reflect.Float32, reflect.Float64:
		return expected{"a number", "a number such as 0.5"}
	case reflect.Slice:
		return expected{"a list", "[a, b], or one line that begins with - for each"}
	case reflect.Map:
		return expected{"a mapping", "name: value on the lines below"}
	case reflect.Struct:
		if fields := structFields(t); len(fields) > 0 {
			return expected{"a mapping", fields[0].key + ": … on the lines below"}
		}
	}
	return expected{"valid here", "another value"}
}
