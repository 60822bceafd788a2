// Package configfile reads a YAML file and the environment into a Go struct, strictly, and explains every mistake.
//
// Three things happen in order. A reader walks the YAML nodes beside the Go type of the target (read.go): it checks each key
// and value, notes the line of each, and leaves a plain tree of maps, lists and scalars. koanf then lays the variables of the
// environment over the tree of the file, and mapstructure decodes the result over the values that the target holds already
// (decode.go). What is wrong is collected, so that one run reports all of it:
//
//	edge.yaml:12: http.listn: unknown key; did you mean "listen"?
//	edge.yaml:31: php.app.queue.timeout: "10 sec" is not a duration: write 10s, 1m30s or 500ms
//	EDGE_LOG__LEVEL: log.level: …
//
// # What a value becomes
//
// The names of keys come from `koanf` tags; a field without one is not configuration. Where the file is silent, the target
// keeps its value. An entry of a map, an element of a list or a section behind a nil pointer begins with what its type's
// method Defaults returns, when it has one; a list replaces the list that was there. A section that is present is on, even
// when nothing follows its colon.
//
// A text takes any scalar, exactly as it is written. A time.Duration wants a unit. A type with UnmarshalText reads texts and
// numbers. A type with UnmarshalConfig accepts a short form (see Unmarshaler). An `any` receives plain values that
// encoding/json can write.
//
// # Variables
//
// ${NAME} and ${NAME:-default} inside a text of the file stand for a variable of the environment; $${ stands for the two
// characters. What a variable expands to is never looked at again; without quotes around it, it is typed as YAML would type it.
//
// Variables that begin with EDGE_ and contain two underscores in a row are configuration themselves: EDGE_PHP__APP__WORKERS__MAX=4
// is php.app.workers.max, and EDGE__STATE_DIR=/tmp is state_dir. An entry of a map is found in spite of case, dashes and dots, and a new
// one gets a name in lower case. Lists and mappings are written as in YAML, [a, b] and {FOO: bar}; a list is set as a whole.
// EDGE_TEST_ variables are left alone.
//
// The values of variables are not printed in problems.
package configfile

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
)

// maxFileBytes bounds a configuration file. The largest sensible one is a hundredth of it.
const maxFileBytes = 1 << 20

// Unmarshaler is implemented, on the pointer, by types that have a short form: a scalar or a list where a mapping is usual, or
// a scalar where a list is usual. It is called for such values only; the usual form is decoded strictly, as for any other type.
// The receiver holds the defaults. v is a string, bool, int, uint64, float64, []any or map[string]any.
type Unmarshaler interface {
	UnmarshalConfig(v any) error
}

// defaulter is implemented by types whose values do not begin at zero; see the package's documentation.
type defaulter interface {
	Defaults() any
}

// File is what was read: where each key stands.
type File struct {
	name    string
	places  map[string]place // by key
	keys    map[string]bool  // in the form of the function Keys
	secrets []secret         // the variables of which values are made
}

// place is where the value of a key was said.
type place struct {
	line     int
	variable string // instead of line, for a value from the environment
}

// Load reads the file at path, lays the EDGE_ variables of environ ("NAME=value", as from os.Environ) over it and decodes both
// over the present values of *into, which is a struct. Without a path only the environment is read. An error that is a
// *Problems lists everything that is wrong; *into is then untouched. A missing file is an fs.ErrNotExist.
func Load(path string, environ []string, into any) (*File, error) {
	if path == "" {
		return Parse("", nil, environ, into)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text, environ, into)
}

// Parse is Load for a text that is in memory already. Problems call it name.
func Parse(name string, text []byte, environ []string, into any) (*File, error) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("read configuration: the target is a %T and must be a pointer to a struct", into)
	}
	env := splitEnviron(environ)
	r := &reader{
		file:   &File{name: name, places: map[string]place{}, keys: map[string]bool{}},
		lookup: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		fields: map[reflect.Type][]field{},
		said:   map[Problem]bool{},
	}
	layers := newLayers()

	tree, err := r.readFile(text, target.Type().Elem())
	if err != nil {
		return nil, err
	}
	if err := layers.add(tree); err != nil {
		return nil, err
	}
	for _, variable := range configVariables(env) {
		tree := r.readVariable(variable, env[variable], target.Elem(), layers.tree())
		if err := layers.add(tree); err != nil {
			return nil, err
		}
	}
	if len(r.problems) > 0 {
		return nil, sorted(r.problems)
	}
	if err := layers.decode(target); err != nil {
		return nil, fmt.Errorf("read configuration %s: %w", name, err)
	}
	return r.file, nil
}

// Has reports whether the file or the environment mentions key, such as "php.app" or "http.routes[0].match".
func (f *File) Has(key string) bool {
	_, ok := f.places[key]
	return ok
}

// Line returns the line on which key stands, or 0 when the file does not have it.
func (f *File) Line(key string) int { return f.places[key].line }

// Keys returns the keys that the file and the environment mention in the form that the function Keys has, sorted.
func (f *File) Keys() []string { return slices.Sorted(maps.Keys(f.keys)) }

// Problems gives the errors of a Validate method their places. Each of them, however wrapped and joined, is a text of the
// form "key.path: problem". When the value came from a variable, the variable's name takes the place of the value in the text.
func (f *File) Problems(err error) error {
	if err == nil {
		return nil
	}
	var list []Problem
	for _, text := range flatten(err) {
		key, problem, ok := strings.Cut(text, ": ")
		if !ok || strings.ContainsAny(key, " \t\n") && f.nearest(key) == (place{}) { // a key may have spaces, a sentence is no key
			list = append(list, Problem{File: f.name, Text: text})
			continue
		}
		at := f.nearest(key)
		list = append(list, Problem{
			File: f.name, Line: at.line, Variable: at.variable, Key: key, Text: redact(problem, f.secretsOf(key)),
		})
	}
	return sorted(list)
}

// nearest returns the place of key or, for a key that the file leaves out, of the section it belongs to.
func (f *File) nearest(key string) place {
	for key != "" {
		if at, ok := f.places[key]; ok {
			return at
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return place{}
}

// secretsOf returns the variables of which the value of key, or of a key below it, is made.
func (f *File) secretsOf(key string) []secret {
	var all []secret
	for _, s := range f.secrets {
		if s.key == key || isBelow(s.key, key) {
			all = append(all, s)
		}
	}
	return all
}

// isBelow reports whether key lies inside section.
func isBelow(key, section string) bool {
	return len(key) > len(section) && strings.HasPrefix(key, section) && (key[len(section)] == '.' || key[len(section)] == '[')
}

// flatten returns the texts of the errors that err joins. A wrapper of joined errors puts its own words before each of them.
func flatten(err error) []string {
	var texts []string
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			texts = append(texts, flatten(inner)...)
		}
		return texts
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		if inner == nil {
			break
		}
		prefix, ok := strings.CutSuffix(err.Error(), inner.Error())
		if !ok {
			break // the wrapper has words behind the cause: it is one text
		}
		for _, text := range flatten(inner) {
			texts = append(texts, prefix+text)
		}
		return texts
	}
	return []string{err.Error()}
}

var _ error = (*Problems)(nil)

// errTarget is wrapped by errors that a mistake in the Go type of the target causes, not one in the file.
var errTarget = errors.New("this type cannot be configured")
