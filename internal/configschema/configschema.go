// Package configschema makes docs/edge.schema.json, by which editors know edge.yaml, out of the configuration structs: their types say
// what fits, their defaults what is meant without a key, and the comments of their fields what a key does. `make schema` writes the
// file, and the tests fail when it is not what the structs say.
package configschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/configfile"
)

// Generate returns the schema; root is the folder of the sources.
func Generate(root string) ([]byte, error) {
	reference, err := readReference(filepath.Join(root, "edge.yaml"))
	if err != nil {
		return nil, err
	}
	s := sources{root: root, folders: map[string]map[string]string{}}
	var failed error
	schema := configfile.Schema(core.DefaultConfig(), func(p configfile.Place) configfile.Note {
		note := notes[p.Key]
		if note.Description != "" || p.Struct == nil {
			return note
		}
		comment, err := s.describe(p)
		if err != nil {
			failed = err
		}
		if comment == "" {
			comment = reference[p.Key]
		}
		if comment == "" {
			comment, _ = s.typeComment(p)
		}
		note.Description = strings.Join(strings.Fields(comment), " ")
		return note
	})
	if failed != nil {
		return nil, failed
	}
	schema["title"] = "edge.yaml"
	schema["description"] = "Configuration of Edge. A section that is present is on, one that is absent is off."
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(schema); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// describe is the comment of a field, in which the field is called as in edge.yaml.
func (s *sources) describe(p configfile.Place) (string, error) {
	comments, err := s.of(p.Struct)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Key, err)
	}
	text := comments[typeName(p.Struct)+"."+p.Field]
	for i := range p.Struct.NumField() {
		f := p.Struct.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("koanf"), ",")
		for _, before := range []string{"", " and ", ", "} { // "Cert and Key are files"
			head, rest, found := strings.Cut(text, before+f.Name)
			if found && key != "" && (before != "" || head == "") && len(head) < 40 && !strings.Contains(head, ".") && (rest == "" || strings.ContainsAny(rest[:1], " ,:\n")) {
				text = head + before + key + rest
			}
		}
	}
	return text, nil
}

// typeComment is the comment of the type of a field, for sections that have no other.
func (s *sources) typeComment(p configfile.Place) (string, error) {
	field, _ := p.Struct.FieldByName(p.Field)
	t := field.Type
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return "", nil
	}
	comments, err := s.of(t)
	if err != nil {
		return "", err
	}
	text := comments[typeName(t)]
	if rest, found := strings.CutPrefix(text, t.Name()); found {
		text = p.Key[strings.LastIndexByte(p.Key, '.')+1:] + rest
	}
	return text, nil
}
