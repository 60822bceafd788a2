package rrcompat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// maxFileBytes bounds a configuration file.
	maxFileBytes = 1 << 20
	// maxDepth bounds how deep sections lie in each other, and ends an alias that contains itself.
	maxDepth = 32
	// maxValues bounds a file whose aliases multiply.
	maxValues = 10_000
)

// kind is what a value is.
type kind int

const (
	null kind = iota
	scalar
	list
	section
)

// value is a node of RoadRunner's configuration.
type value struct {
	kind    kind
	text    string // of a scalar, as it is written
	number  bool   // a scalar that is a number without quotes
	list    []*value
	entries []*entry
	used    bool // somebody asked for it
}

type entry struct {
	name string // as it is written; RoadRunner would have it in lower case
	at   string // where: .rr.yaml:12, or -o key
	value
}

// find returns the entry of a section, in spite of case, or nil.
func (v *value) find(name string) *entry {
	for _, e := range v.entries {
		if strings.EqualFold(e.name, name) {
			return e
		}
	}
	return nil
}

// set puts an entry in the place of the one of its name.
func (v *value) set(e *entry) {
	for i, old := range v.entries {
		if strings.EqualFold(old.name, e.name) {
			v.entries[i] = e
			return
		}
	}
	v.entries = append(v.entries, e)
}

// merge lays over over v: sections are merged, everything else is replaced.
func (v *value) merge(over *value) {
	for _, e := range over.entries {
		if mine := v.find(e.name); mine != nil && mine.kind == section && e.kind == section {
			mine.merge(&e.value)
			continue
		}
		v.set(e)
	}
}

// parseFile reads a YAML or JSON file; an empty one is an empty section. JSON is read as the YAML that it is.
func parseFile(name string, text []byte) (*value, error) {
	if path.Ext(name) == ".toml" {
		return nil, fmt.Errorf("%s: Edge does not read TOML: write the file as YAML", name)
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s: is larger than %d KiB", name, maxFileBytes>>10)
	}
	var document yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&document)
	if errors.Is(err, io.EOF) {
		return &value{kind: section}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := parser{name: name}
	root := p.value(document.Content[0], 0)
	if p.err != nil {
		return nil, p.err
	}
	switch root.kind {
	case null:
		root.kind = section
	case section:
	default:
		return nil, fmt.Errorf("%s: is not a mapping of keys to values", name)
	}
	return &root, nil
}

// parser turns YAML nodes into values.
type parser struct {
	name   string
	values int
	err    error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) value {
	if p.err == nil {
		p.err = fmt.Errorf("%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...))
	}
	return value{}
}

func (p *parser) value(n *yaml.Node, depth int) value {
	p.values++
	if p.values > maxValues || depth > maxDepth {
		return p.fail(n, "more than %d values, counted as often as aliases repeat them, or deeper than %d levels", maxValues, maxDepth)
	}
	if p.err != nil {
		return value{}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return p.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return p.section(n, depth)
	case yaml.SequenceNode:
		v := value{kind: list}
		for _, element := range n.Content {
			item := p.value(element, depth+1)
			v.list = append(v.list, &item)
		}
		return v
	}
	tag := n.ShortTag()
	if tag == "!!null" {
		return value{}
	}
	return value{kind: scalar, text: n.Value, number: tag == "!!int" || tag == "!!float"}
}

func (p *parser) section(n *yaml.Node, depth int) value {
	v := value{kind: section}
	var merged value
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, content := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			for _, source := range mergeSources(content) {
				part := p.value(source, depth+1)
				part.merge(&merged)
				merged = part
			}
			continue
		}
		if key.Kind != yaml.ScalarNode || key.Value == "" {
			return p.fail(key, "a key is not a text")
		}
		if v.find(key.Value) != nil {
			return p.fail(key, "%s: stands here twice (case does not tell keys apart)", key.Value)
		}
		v.entries = append(v.entries, &entry{
			name: key.Value, at: fmt.Sprintf("%s:%d", p.name, key.Line), value: p.value(content, depth+1),
		})
	}
	if len(merged.entries) == 0 {
		return v
	}
	merged.kind = section
	merged.merge(&v) // a key of its own wins over one that << brings in
	return merged
}

// mergeSources are the mappings of `<<: *a` or `<<: [*a, *b]`.
func mergeSources(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

// override is one -o key=value.
func (v *value) override(text string) error {
	key, content, found := strings.Cut(strings.TrimLeft(text, " \"'`"), "=")
	key, content = strings.TrimSpace(key), unquote(strings.TrimSpace(content))
	switch {
	case !found:
		return fmt.Errorf("-o %s: write -o key=value, such as -o http.pool.num_workers=4", text)
	case key == "":
		return fmt.Errorf("-o %s: the key is empty", text)
	case content == "":
		return fmt.Errorf("-o %s: the value is empty: leave the option away, or change the file", text)
	}
	names := strings.Split(key, ".")
	if len(names) > maxDepth {
		return fmt.Errorf("-o %s: lies deeper than %d levels", key, maxDepth)
	}
	for i, name := range names {
		if name == "" {
			return fmt.Errorf("-o %s: a part of the key is empty", key)
		}
		at := "-o " + key
		if i == len(names)-1 {
			v.set(&entry{name: name, at: at, value: value{kind: scalar, text: content}})
			return nil
		}
		next := v.find(name)
		if next == nil || next.kind != section {
			next = &entry{name: name, at: at, value: value{kind: section}}
			v.set(next)
		}
		v = &next.value
	}
	return nil
}

// unquote takes the quotes off a value that a shell has left there.
func unquote(text string) string {
	if len(text) < 2 || !strings.ContainsRune("\"'`", rune(text[0])) || text[0] != text[len(text)-1] {
		return text
	}
	quote := text[:1]
	return strings.ReplaceAll(text[1:len(text)-1], `\`+quote, quote)
}
