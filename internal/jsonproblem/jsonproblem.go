// Package jsonproblem says what is wrong with JSON that encoding/json could not read.
package jsonproblem

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Text is an error of encoding/json in words for who wrote what it read.
func Text(err error) string {
	var wrong *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &wrong):
		what := "it"
		if wrong.Field != "" {
			what = wrong.Field
		}
		given, _, _ := strings.Cut(wrong.Value, " ") // of a number its digits follow
		must, is := kind(wrong.Type), name(given)
		if must != is {
			return fmt.Sprintf("%s must be %s, not %s", what, must, is)
		}
		if strings.ContainsAny(strings.TrimPrefix(wrong.Value, "number"), ".eE") && !isFloat(wrong.Type) {
			return what + " must be a whole number"
		}
		return what + " is too large or too small a number"
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF):
		return "it is not JSON"
	}
	return strings.Replace(strings.TrimPrefix(err.Error(), "json: "), "unknown field", "there is no field", 1)
}

func kind(t reflect.Type) string {
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

func isFloat(t reflect.Type) bool { return t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 }

func name(value string) string {
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
