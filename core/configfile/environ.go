package configfile

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

const (
	variablePrefix = "EDGE_"
	testPrefix     = "EDGE_TEST_"
	keySeparator   = "__"
)

// splitEnviron turns "NAME=value" into a map; the last of several wins, as for a process.
func splitEnviron(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	return env
}

// configVariables returns the names that are configuration, sorted.
func configVariables(env map[string]string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.HasPrefix(name, variablePrefix) && !strings.HasPrefix(name, testPrefix) && strings.Contains(name, keySeparator) {
			names = append(names, name)
		}
	}
	return names
}

// cursor is a place in the configuration while the words of a variable's name are followed.
type cursor struct {
	at    spot
	typ   reflect.Type
	value reflect.Value // what the target holds there; invalid when it holds nothing
	tree  any           // what the file says there
}

// readVariable returns the tree that a variable stands for: EDGE_LOG__LEVEL=debug is {log: {level: debug}}.
func (r *reader) readVariable(name, value string, target reflect.Value, tree map[string]any) map[string]any {
	r.variable = name
	defer func() { r.variable = "" }()

	words := variableWords(name)
	keys := make([]string, len(words))
	at := cursor{typ: target.Type(), value: target, tree: tree}
	for i, word := range words {
		if i > 0 && !r.file.Has(at.at.key) {
			r.note(at.at)
		}
		key, next, problem := r.step(at, word, keys[:i])
		if problem != "" {
			if word != "" {
				at.at = at.at.field(plainKey(word), 0)
			}
			r.problemf(at.at, "%s", problem)
			return nil
		}
		keys[i], at = key, next
	}
	node, ok := r.parseVariable(value, at)
	if !ok {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		r.forgetBelow(at.at.key)
	}
	v := r.read(node, at.typ, at.at)
	if v == (any)(dropped{}) {
		return nil
	}
	for _, key := range slices.Backward(keys) {
		v = map[string]any{key: v}
	}
	return v.(map[string]any)
}

// forgetBelow removes the places of the parts of a value that a variable replaces as a whole.
func (r *reader) forgetBelow(section string) {
	for key := range r.file.places {
		if isBelow(key, section) {
			delete(r.file.places, key)
		}
	}
}

// variableWords splits EDGE_LOG__LEVEL into LOG and LEVEL. In EDGE__STATE_DIR nothing comes before the underscores: its one
// word is a key at the top.
func variableWords(name string) []string {
	rest, ok := strings.CutPrefix(name, "EDGE"+keySeparator)
	if !ok {
		rest = strings.TrimPrefix(name, variablePrefix)
	}
	return strings.Split(rest, keySeparator)
}

// variableFor is the inverse of variableWords.
func variableFor(keys []string) string {
	words := strings.ToUpper(plainKey(strings.Join(keys, keySeparator)))
	if len(keys) == 1 {
		return "EDGE" + keySeparator + words
	}
	return variablePrefix + words
}

// step goes from a section to the key that a word names, or says why it cannot. above are the keys that lead to the section.
func (r *reader) step(c cursor, word string, above []string) (string, cursor, string) {
	for c.typ.Kind() == reflect.Pointer {
		c.typ = c.typ.Elem()
		if c.value.IsValid() {
			c.value = c.value.Elem()
		}
	}
	switch {
	case word == "" || strings.ContainsFunc(word, unicode.IsControl):
		return "", c, "a key in the name of the variable is empty or has control characters"
	case c.typ.Kind() == reflect.Struct && isSection(c.typ):
		return r.stepIntoStruct(c, word, above)
	case c.typ.Kind() == reflect.Map, c.typ.Kind() == reflect.Interface:
		return stepIntoMap(c, word)
	case c.typ.Kind() == reflect.Slice:
		return "", c, "a list is set as a whole: " + variableFor(above) + "='[a, b]'"
	}
	return "", c, strconv.Quote(c.at.key) + " is " + expectation(c.typ).noun + ", which has no keys"
}

func (r *reader) stepIntoStruct(c cursor, word string, above []string) (string, cursor, string) {
	valid := r.keysOf(c.typ)
	i := slices.IndexFunc(valid, func(key string) bool { return plainKey(key) == plainKey(word) })
	if i < 0 {
		show := func(key string) string { return variableFor(append(slices.Clone(above), key)) }
		return "", c, unknownKey(word, valid, show)
	}
	f := r.structFields(c.typ)[i]
	next := cursor{at: c.at.field(f.key, 0), typ: f.typ, tree: below(c.tree, f.key)}
	if c.value.IsValid() {
		next.value = c.value.FieldByIndex(f.index)
	}
	return f.key, next, ""
}

// stepIntoMap looks for an entry whose name is the word but for what a variable cannot express, and makes a new one otherwise.
func stepIntoMap(c cursor, word string) (string, cursor, string) {
	names := map[string]bool{}
	if section, ok := c.tree.(map[string]any); ok {
		for name := range section {
			names[name] = true
		}
	}
	if c.value.IsValid() && c.value.Kind() == reflect.Map {
		for _, name := range c.value.MapKeys() {
			names[name.String()] = true
		}
	}
	var found []string
	for name := range names {
		if strings.EqualFold(name, word) {
			found = []string{name}
			break
		}
		if plainKey(name) == plainKey(word) {
			found = append(found, name)
		}
	}
	key := strings.ToLower(word)
	switch len(found) {
	case 0:
	case 1:
		key = found[0]
	default:
		slices.Sort(found)
		return "", c, "may mean any of " + strings.Join(found, ", ") + ": rename all but one"
	}
	next := cursor{at: c.at.entry(key, 0), typ: c.typ, tree: below(c.tree, key)}
	if c.typ.Kind() == reflect.Map {
		next.typ = c.typ.Elem()
		if c.value.IsValid() {
			next.value = c.value.MapIndex(reflect.ValueOf(key).Convert(c.typ.Key()))
		}
	}
	return key, next, ""
}

// below returns the value of key in a tree, or nil.
func below(tree any, key string) any {
	section, _ := tree.(map[string]any)
	return section[key]
}

// parseVariable returns the value of a variable as a node. Where a scalar is wanted the value is taken as it is, so that a
// password may contain what it likes; elsewhere it is YAML.
func (r *reader) parseVariable(value string, at cursor) (*yaml.Node, bool) {
	t := at.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	verbatim := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	switch t.Kind() {
	case reflect.Struct:
		if !isSection(t) {
			return verbatim, true
		}
	case reflect.Map, reflect.Slice, reflect.Interface:
	default:
		return verbatim, true
	}
	if value == "" {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}, true
	}
	var document yaml.Node
	ok := len(value) <= maxFileBytes && yaml.Unmarshal([]byte(value), &document) == nil && len(document.Content) == 1
	switch {
	case hasShortForm(t) && (!ok || document.Content[0].Kind == yaml.MappingNode && value[0] != '{'):
		return verbatim, true // such as a command line with a colon in it
	case !ok:
		r.problemf(at.at, "the value is not YAML: write %s", flowExample(t))
		return nil, false
	}
	return document.Content[0], true
}

// flowExample shows how a value of a type that is not a scalar fits on one line.
func flowExample(t reflect.Type) string {
	if t.Kind() == reflect.Slice {
		return "[a, b]"
	}
	if t.Kind() == reflect.Struct {
		return "{" + structFields(t)[0].key + ": …}"
	}
	return "{name: value}"
}
