// Package strict reads the configuration of a plugin in Go, which the server hands over as JSON. Unlike encoding/json it takes
// keys as they are spelled and no others, and what is wrong it tells with the path of the key and what to write instead.
package strict

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Read reads text into the struct that to points to, whose fields have json tags. No text at all is a map without keys, and null
// is as good as absent. A type that reads itself is given its part, and its error gets the path.
func Read(text []byte, to any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("{}")
	}
	if !json.Valid(text) {
		return fmt.Errorf("config: must be a map of keys, and is a text") // which may be a secret
	}
	return read("config", text, reflect.ValueOf(to).Elem())
}

func read(path string, text []byte, to reflect.Value) error {
	if string(bytes.TrimSpace(text)) == "null" {
		return nil
	}
	if own, ok := to.Addr().Interface().(json.Unmarshaler); ok {
		if err := own.UnmarshalJSON(text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return read(path, text, to.Elem())
	case reflect.Struct:
		return readStruct(path, text, to)
	case reflect.Slice:
		return readList(path, text, to)
	case reflect.Map:
		return readMap(path, text, to)
	}
	if json.Unmarshal(text, to.Addr().Interface()) != nil {
		return fmt.Errorf("%s: must be %s", path, wanted(to.Kind()))
	}
	return nil
}

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a text; put it into quotes"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}

func readStruct(path string, text []byte, to reflect.Value) error {
	parts, err := members(path, text)
	if err != nil {
		return err
	}
	known := make([]string, to.NumField())
	for n := range known {
		known[n], _, _ = strings.Cut(to.Type().Field(n).Tag.Get("json"), ",")
	}
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		n := slices.Index(known, key)
		if n < 0 || key == "" {
			known = slices.DeleteFunc(known, func(name string) bool { return name == "" })
			return fmt.Errorf("%s.%s: there is no such key; there are %s", path, key, strings.Join(known, ", "))
		}
		if err := read(path+"."+key, parts[key], to.Field(n)); err != nil {
			return err
		}
	}
	return nil
}

func readMap(path string, text []byte, to reflect.Value) error {
	parts, err := members(path, text)
	if err != nil {
		return err
	}
	to.Set(reflect.MakeMap(to.Type()))
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		value := reflect.New(to.Type().Elem()).Elem()
		if value.Kind() == reflect.Interface { // whatever it is
			err = json.Unmarshal(parts[key], value.Addr().Interface())
		} else {
			err = read(path+"."+key, parts[key], value)
		}
		if err != nil {
			return err
		}
		to.SetMapIndex(reflect.ValueOf(key), value)
	}
	return nil
}

func members(path string, text []byte) (parts map[string]json.RawMessage, err error) {
	if json.Unmarshal(text, &parts) != nil {
		return nil, fmt.Errorf("%s: must be a map of keys", path)
	}
	return parts, nil
}

func readList(path string, text []byte, to reflect.Value) error {
	var parts []json.RawMessage
	if json.Unmarshal(text, &parts) != nil {
		return fmt.Errorf("%s: must be a list", path)
	}
	to.Set(reflect.MakeSlice(to.Type(), len(parts), len(parts)))
	for n, part := range parts {
		if err := read(fmt.Sprintf("%s[%d]", path, n), part, to.Index(n)); err != nil {
			return err
		}
	}
	return nil
}
