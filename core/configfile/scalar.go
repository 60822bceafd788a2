package configfile

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// scalar is a YAML scalar after variables are put in.
type scalar struct {
	text   string
	tag    string // what YAML takes it for: !!str, !!int, …
	secret string // "${NAME}" when a variable's value is in the text, which is then not shown
}

// scalar reads a node that is neither list nor mapping. It reports false after a problem with a variable.
func (r *reader) scalar(n *yaml.Node, at spot) (scalar, bool) {
	s := scalar{text: n.Value, tag: n.ShortTag()}
	if r.variable != "" {
		s.secret = "the value"
		r.addSecret(at, r.variable, n.Value)
		return s, true
	}
	if s.tag != "!!str" || !strings.Contains(s.text, "${") {
		return s, true
	}
	text, used, err := expand(s.text, r.lookup)
	if err != nil {
		r.problemf(at, "%v", err)
		return s, false
	}
	s.text = text
	if len(used) == 0 {
		return s, true
	}
	names := make([]string, len(used))
	for i, u := range used {
		names[i] = u.String()
		r.addSecret(at, u.variable, u.value)
	}
	s.secret = "the value of " + strings.Join(names, ", ")
	if n.Style == 0 && text != "" {
		s.tag = (&yaml.Node{Kind: yaml.ScalarNode, Value: text}).ShortTag()
	}
	return s, true
}

// addSecret remembers that the value at the spot is made of a variable's value.
func (r *reader) addSecret(at spot, variable, value string) {
	r.file.secrets = append(r.file.secrets, secret{at.key, variable, value})
}

// shown is the scalar as a problem shows it.
func (s scalar) shown() string {
	switch {
	case s.secret != "":
		return s.secret
	case s.tag == "!!str":
		return quote(s.text)
	}
	return shorten(s.text)
}

// plain returns the scalar as the Go value that YAML means. Values that JSON does not have are refused.
func (s scalar) plain() (any, error) {
	switch s.tag {
	case "!!null":
		return nil, nil
	case "!!bool", "!!int", "!!float":
		var v any
		if err := s.node().Decode(&v); err != nil {
			return nil, errors.New("is too large, or not what its tag says")
		}
		if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, errors.New("is not a number that JSON has")
		}
		return v, nil
	}
	return s.text, nil // also a date, which YAML 1.1 has and JSON has not
}

func (s scalar) node() *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: s.tag, Value: s.text}
}

// readScalar reads a text, a number, a yes or no, or a duration.
func (r *reader) readScalar(n *yaml.Node, t reflect.Type, at spot) any {
	if n.Kind != yaml.ScalarNode {
		return r.mismatch(n, t, at)
	}
	s, ok := r.scalar(n, at)
	if !ok {
		return dropped{}
	}
	v, err := s.as(t)
	if err != nil {
		r.problemf(at, "%s %v", s.shown(), err)
		return dropped{}
	}
	return v
}

// as converts the scalar to what the decoder wants for type t. Its errors continue a sentence that begins with the value.
func (s scalar) as(t reflect.Type) (any, error) {
	want := expectation(t)
	wrong := fmt.Errorf("is not %s: write %s", want.noun, want.example)
	if t == durationType {
		return s.duration(wrong)
	}
	// A variable's value may serve as a number even where it is quoted.
	node := s.node()
	if s.secret != "" && s.text != "" {
		node = &yaml.Node{Kind: yaml.ScalarNode, Value: s.text}
	}
	tag := node.ShortTag()
	switch t.Kind() {
	case reflect.String:
		return s.text, nil
	case reflect.Bool:
		var v bool
		if tag != "!!bool" || node.Decode(&v) != nil {
			return nil, wrong
		}
		return v, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var v int64
		switch {
		case tag != "!!int":
			return nil, s.unquoted(wrong)
		case node.Decode(&v) != nil || reflect.Zero(t).OverflowInt(v):
			return nil, fmt.Errorf("is out of range: write a number between %d and %d", -1<<(t.Bits()-1), 1<<(t.Bits()-1)-1)
		}
		return v, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var v uint64
		switch {
		case tag != "!!int":
			return nil, s.unquoted(wrong)
		case node.Decode(&v) != nil || reflect.Zero(t).OverflowUint(v):
			return nil, fmt.Errorf("is out of range: write a number between 0 and %d", uint64(math.MaxUint64)>>(64-t.Bits()))
		}
		return v, nil
	case reflect.Float32, reflect.Float64:
		var v float64
		if tag != "!!int" && tag != "!!float" || node.Decode(&v) != nil {
			return nil, s.unquoted(wrong)
		}
		return v, nil
	}
	return nil, fmt.Errorf("%w: %s", errTarget, t)
}

// duration checks the text; the decoder parses it once more.
func (s scalar) duration(wrong error) (any, error) {
	if s.text == "0" {
		return s.text, nil
	}
	if _, err := time.ParseDuration(s.text); err == nil {
		return s.text, nil
	}
	if _, err := strconv.ParseFloat(s.text, 64); err == nil {
		if s.secret != "" {
			return nil, errors.New("has no unit: write 30s for seconds, 30ms for milliseconds")
		}
		return nil, fmt.Errorf("has no unit: write %[1]ss for seconds, %[1]sms for milliseconds", shorten(s.text))
	}
	return nil, wrong
}

// unquoted adds the usual reason why a number is not a number.
func (s scalar) unquoted(wrong error) error {
	if _, err := strconv.ParseFloat(s.text, 64); err == nil && s.secret == "" && s.tag == "!!str" {
		return errors.New("is a text: write the number without quotes")
	}
	return wrong
}
