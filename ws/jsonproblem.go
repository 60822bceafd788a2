package ws

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// JSONProblem says what is wrong with JSON that encoding/json could not read, in words for who wrote it.
func JSONProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		what := "it"
		if wrong.Field != "" {
			what = wrong.Field
		}
		given, _, _ := strings.Cut(wrong.Value, " ") // of a number its digits follow
		return fmt.Sprintf("%s must be %s, not %s", what, jsonKind(wrong.Type), jsonName(given))
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return "it is not JSON"
	}
	return strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "there is no field", 1)
}

func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a number"
}

func jsonName(value string) string {
	switch value {
	case "string":
		return "a text"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	}
	return "a number"
}
