package configfile

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const (
	// maxDepth bounds how deep values lie in each other. It also ends an alias that contains itself.
	maxDepth = 64

	// maxValues bounds how many keys and values are looked at, so that aliases of aliases cannot multiply without end.
	maxValues = 200_000
)

// reader walks YAML nodes beside a Go type. It returns plain values that fit the type and keeps a list of those that do not.
type reader struct {
	file     *File
	variable string // the variable of the environment that is being read, or "" for the file
	lookup   func(string) (string, bool)
	fields   map[reflect.Type][]field
	problems []Problem
	said     map[Problem]bool
	values   int  // counted by spend
	tooDeep  bool // said once
}

// spot is where the reader is.
type spot struct {
	key     string // as a person writes it: php.app.workers
	pattern string // the same for every entry: php.*.workers
	line    int
	depth   int
}

func (s spot) field(key string, line int) spot {
	return spot{join(s.key, key), join(s.pattern, key), line, s.depth + 1}
}

func (s spot) entry(key string, line int) spot {
	return spot{join(s.key, key), join(s.pattern, "*"), line, s.depth + 1}
}

func (s spot) element(i, line int) spot {
	return spot{s.key + "[" + strconv.Itoa(i) + "]", s.pattern + "[]", line, s.depth + 1}
}

func join(section, key string) string {
	if section == "" {
		return key
	}
	return section + "." + key
}

var (
	unmarshalerType     = reflect.TypeFor[Unmarshaler]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	defaulterType       = reflect.TypeFor[defaulter]()
	durationType        = reflect.TypeFor[time.Duration]()
)

// readFile parses the text and reads its one document. A nil tree without an error is an empty document.
func (r *reader) readFile(text []byte, t reflect.Type) (map[string]any, error) {
	if len(text) > maxFileBytes {
		return nil, &Problems{List: []Problem{{File: r.file.name, Text: fmt.Sprintf("is larger than %d KiB", maxFileBytes>>10)}}}
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, &Problems{List: []Problem{r.syntaxProblem(err, text)}}
	}
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, &Problems{List: []Problem{r.syntaxProblem(err, text)}}
	default:
		r.problemf(spot{line: second.Line}, "a second document begins here; the file is one document")
	}
	tree, _ := r.read(document.Content[0], t, spot{line: document.Line}).(map[string]any)
	return tree, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxProblem turns an error of the YAML parser, "yaml: line 3: …", into a problem.
func (r *reader) syntaxProblem(err error, text []byte) Problem {
	found := yamlLine.FindStringSubmatch(err.Error())
	if found == nil {
		return Problem{File: r.file.name, Text: err.Error()}
	}
	line, _ := strconv.Atoi(found[1])
	// Of what is missing at the end, the parser says that it is missing after the end.
	line = min(max(line, 1), bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1)
	problem := err.Error()[len(found[0]):]
	if n, ok := lineWithTab(text, line); ok {
		line, problem = n, "a tab where YAML wants spaces ("+problem+")"
	}
	return Problem{File: r.file.name, Line: line, Text: problem}
}

// lineWithTab finds a line that is indented by a tab at or right after the line that the parser complained about.
func lineWithTab(text []byte, line int) (int, bool) {
	lines := bytes.Split(text, []byte("\n"))
	for n := line; n <= line+1 && n <= len(lines); n++ {
		indent := lines[n-1][:len(lines[n-1])-len(bytes.TrimLeft(lines[n-1], " \t"))]
		if bytes.ContainsRune(indent, '\t') {
			return n, true
		}
	}
	return 0, false
}

// dropped is returned in the place of a value that is not to be decoded: it has a problem, or says nothing.
type dropped struct{}

// read returns the value of n as the decoder wants it for type t.
func (r *reader) read(n *yaml.Node, t reflect.Type, at spot) any {
	if !r.spend(1, at) {
		return dropped{}
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	r.note(at)
	if !knownTag(n.ShortTag()) {
		r.problemf(at, "the tag %s is not supported", shorten(n.Tag))
		return dropped{}
	}
	pointer := t.Kind() == reflect.Pointer
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNull(n) {
		return r.readNull(t, pointer, at)
	}
	if isUsualForm(n, t) {
		return r.readUsual(n, t, at)
	}
	if v, ok := r.readShort(n, t, at); ok {
		return v
	}
	return r.readUsual(n, t, at)
}

// spend counts n keys or values and reports whether they are still within bounds. Only the first that is not is a problem.
func (r *reader) spend(n int, at spot) bool {
	before := r.values
	r.values += n
	switch {
	case r.values > maxValues:
		if before <= maxValues {
			r.problemf(at, "more than %d values, counted as often as aliases repeat them", maxValues)
		}
		return false
	case at.depth > maxDepth:
		if !r.tooDeep {
			r.problemf(at, "lies deeper than %d levels", maxDepth)
		}
		r.tooDeep = true
		return false
	}
	return true
}

// note remembers where the key stands.
func (r *reader) note(at spot) {
	if at.key == "" {
		return
	}
	if r.variable == "" {
		r.file.places[at.key] = place{line: at.line}
	} else {
		r.file.places[at.key] = place{variable: r.variable}
	}
	r.file.keys[at.pattern] = true
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func knownTag(tag string) bool {
	switch tag {
	case "!!map", "!!seq", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!merge":
		return true
	}
	return false
}

// readNull reads a key with nothing behind it. A section is then on with its defaults, and a list keeps its own; both are what
// is left when every line below the key is commented out. A scalar needs a value.
func (r *reader) readNull(t reflect.Type, pointer bool, at spot) any {
	switch {
	case t.Kind() == reflect.Interface:
		return nil
	case isSection(t):
		return map[string]any{}
	case !pointer && t.Kind() != reflect.Slice:
		r.problemf(at, "has no value: write %s, or remove the key", expectation(t).example)
	}
	return dropped{}
}

// isSection reports whether values of t are mappings in YAML.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Map || t.Kind() == reflect.Struct && (len(structFields(t)) > 0 || !reflect.PointerTo(t).Implements(textUnmarshalerType))
}

// isUsualForm reports whether the node has the shape that t has, so that no short form is asked for.
func isUsualForm(n *yaml.Node, t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return n.Kind == yaml.MappingNode && isSection(t)
	case reflect.Slice, reflect.Array:
		return n.Kind == yaml.SequenceNode
	}
	return false
}

// readUsual reads a value in the form that the kind of t suggests.
func (r *reader) readUsual(n *yaml.Node, t reflect.Type, at spot) any {
	switch {
	case t.Kind() == reflect.Interface && t.NumMethod() == 0:
		return r.readAny(n, at)
	case t.Kind() == reflect.Struct && isSection(t):
		return r.readStruct(n, t, at)
	case t.Kind() == reflect.Map:
		return r.readMap(n, t, at)
	case t.Kind() == reflect.Slice:
		return r.readList(n, t, at)
	}
	return r.readScalar(n, t, at)
}

func (r *reader) readStruct(n *yaml.Node, t reflect.Type, at spot) any {
	if n.Kind != yaml.MappingNode {
		return r.mismatch(n, t, at)
	}
	tree := map[string]any{}
	for _, pair := range r.pairs(n, at) {
		key := pair.key.Value
		f, ok := r.field(t, key)
		if !ok {
			r.problemf(at.field(key, pair.key.Line), "%s", unknownKey(key, r.keysOf(t), strconv.Quote))
			continue
		}
		if v := r.read(pair.value, f.typ, at.field(key, pair.key.Line)); v != (dropped{}) {
			tree[key] = v
		}
	}
	return tree
}

func (r *reader) readMap(n *yaml.Node, t reflect.Type, at spot) any {
	if n.Kind != yaml.MappingNode {
		return r.mismatch(n, t, at)
	}
	tree := map[string]any{}
	for _, pair := range r.pairs(n, at) {
		if v := r.read(pair.value, t.Elem(), at.entry(pair.key.Value, pair.key.Line)); v != (dropped{}) {
			tree[pair.key.Value] = v
		}
	}
	return tree
}

func (r *reader) readList(n *yaml.Node, t reflect.Type, at spot) any {
	if n.Kind != yaml.SequenceNode {
		return r.mismatch(n, t, at)
	}
	list := make([]any, len(n.Content))
	for i, element := range n.Content {
		if v := r.read(element, t.Elem(), at.element(i, element.Line)); v != (dropped{}) {
			list[i] = v
		}
	}
	return list
}

// readAny reads a value whose shape is the business of somebody else, such as the config of a plugin.
func (r *reader) readAny(n *yaml.Node, at spot) any {
	anyType := reflect.TypeFor[any]()
	switch n.Kind {
	case yaml.MappingNode:
		return r.readMap(n, reflect.MapOf(reflect.TypeFor[string](), anyType), at)
	case yaml.SequenceNode:
		return r.readList(n, reflect.SliceOf(anyType), at)
	}
	s, ok := r.scalar(n, at)
	if !ok {
		return dropped{}
	}
	v, err := s.plain()
	if err != nil {
		r.problemf(at, "%s %v", s.shown(), err)
		return dropped{}
	}
	return v
}

// readShort reads a value through a method of its type. It reports false when the type has none for this form.
func (r *reader) readShort(n *yaml.Node, t reflect.Type, at spot) (any, bool) {
	pointer := reflect.PointerTo(t)
	known := len(r.file.secrets)
	var v any
	switch {
	case pointer.Implements(unmarshalerType):
		v = r.readAny(n, at)
	case pointer.Implements(textUnmarshalerType) && n.Kind == yaml.ScalarNode:
		s, ok := r.scalar(n, at)
		if !ok {
			return dropped{}, true
		}
		v = s.text
	default:
		return nil, false
	}
	if v == (any)(dropped{}) {
		return v, true
	}
	// The same call fills the target later; now is when there is a line to complain about.
	scratch := reflect.New(t).Elem()
	setDefaults(scratch)
	if err := unmarshalShort(scratch, v); err != nil {
		r.problemf(at, "%s", redact(err.Error(), r.file.secrets[known:]))
		return dropped{}, true
	}
	return v, true
}

// hasShortForm reports whether values of t may be written as one text.
func hasShortForm(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(unmarshalerType) || pointer.Implements(textUnmarshalerType)
}

// mismatch says what was expected in the place of n.
func (r *reader) mismatch(n *yaml.Node, t reflect.Type, at spot) any {
	shown := "a list"
	switch n.Kind {
	case yaml.MappingNode:
		shown = "a mapping"
	case yaml.ScalarNode:
		s, ok := r.scalar(n, at)
		if !ok {
			return dropped{}
		}
		shown = s.shown()
	}
	want := expectation(t)
	r.problemf(at, "%s is not %s: write %s", shown, want.noun, want.example)
	return dropped{}
}

type pair struct{ key, value *yaml.Node }

// pairs returns the keys and values of a mapping in their order. Those that a merge key (<<) brings in come last, and only
// when the mapping does not have them itself.
func (r *reader) pairs(n *yaml.Node, at spot) []pair {
	if !r.spend(len(n.Content)/2, at) {
		return nil
	}
	var own []pair
	var merged []*yaml.Node
	first := map[string]int{} // the line of each key
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if problem := keyProblem(key); problem != "" {
			r.problemf(spot{key: at.key, line: key.Line}, "%s", problem)
			continue
		}
		if line, taken := first[key.Value]; taken {
			r.problemf(at.field(key.Value, key.Line), "duplicate key, it stands on line %d already", line)
			continue
		}
		first[key.Value] = key.Line
		own = append(own, pair{key, value})
	}
	for _, source := range merged {
		for _, p := range r.mergedPairs(source, at) {
			if _, taken := first[p.key.Value]; !taken {
				first[p.key.Value] = p.key.Line
				own = append(own, p)
			}
		}
	}
	return own
}

// mergedPairs returns what `<<: *anchor` or `<<: [*anchor, *other]` brings in.
func (r *reader) mergedPairs(n *yaml.Node, at spot) []pair {
	at.depth++
	if !r.spend(1, at) {
		return nil
	}
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.pairs(n, at)
	case yaml.SequenceNode:
		var all []pair
		for _, element := range n.Content {
			all = append(all, r.mergedPairs(element, at)...)
		}
		return all
	}
	r.problemf(spot{key: at.key, line: n.Line}, "<< merges mappings only: write <<: *name")
	return nil
}

// keyProblem says why a node cannot be a key, or "".
func keyProblem(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "a key is a list or a mapping; keys are texts"
	case n.Value == "":
		return "a key is empty"
	case strings.ContainsFunc(n.Value, unicode.IsControl):
		return fmt.Sprintf("the key %s has control characters", quote(n.Value))
	}
	return ""
}
