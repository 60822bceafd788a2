package php

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxDepth is the deepest key that is kept: a[b][c] has depth 3.
	maxDepth = 127
	// maxNodes bounds what a hostile form can make of few bytes. PHP takes quadratic time for keys chosen to collide, and its
	// own limit, a thousand fields, does not hold for JSON.
	maxNodes = 20_000
	// indexFrom is the number of children from which an object finds them by a map.
	indexFrom = 8
)

// tree turns the fields of a form into the JSON document that PHP gets, by the rules of PHP's own $_POST, in the order in
// which the fields came:
//
//	a=1        {"a":"1"}         of several, the last wins (the first for files)
//	a[]=1      {"a":["1"]}
//	a[x][y]=1  {"a":{"x":{"y":"1"}}}
//
// A key that is a leaf here and a branch there is an error, unless the leaf is empty: then the leaf is dropped.
type tree struct {
	root  node
	nodes int
}

type nodeKind uint8

const (
	leaf nodeKind = iota
	list
	object
)

// node is a leaf with its JSON text, a list of leaves, or an object.
type node struct {
	key   string
	kind  nodeKind
	empty bool   // a leaf without content, which gives way to a branch
	json  string // of a leaf
	kids  []*node
	index map[string]*node
}

func newTree() *tree { return &tree{root: node{kind: object}} }

// addValue adds a field of a form.
func (t *tree) addValue(key, value string) error {
	return t.add(key, string(appendJSONString(nil, value)), value == "", true)
}

// addFile adds a file, described by a JSON object.
func (t *tree) addFile(key, json string) error { return t.add(key, json, false, false) }

func (t *tree) add(key, json string, empty, lastWins bool) error {
	path := splitKey(key)
	if len(path) > maxDepth {
		return nil
	}
	if t.nodes += len(path); t.nodes > maxNodes {
		return fmt.Errorf("%w: more than %d form fields", ErrTooLarge, maxNodes)
	}

	at, asList := &t.root, false
	if len(path) == 2 && path[1] == "" || len(path) > 2 && path[len(path)-1] == "" {
		path, asList = path[:len(path)-1], true
	}
	for _, segment := range path[:len(path)-1] {
		kid := at.child(segment, object)
		if kid.kind == leaf && kid.empty {
			kid.kind = object
		}
		if kid.kind != object {
			if empty && !asList {
				return nil
			}
			return conflict(key)
		}
		at = kid
	}

	last := path[len(path)-1]
	if asList {
		kid := at.child(last, list)
		if kid.kind == leaf && kid.empty {
			kid.kind = list
		}
		if kid.kind != list {
			return conflict(key)
		}
		kid.kids = append(kid.kids, &node{json: json})
		return nil
	}
	kid := at.child(last, leaf)
	switch {
	case kid.kind != leaf && empty:
	case kid.kind != leaf:
		return conflict(key)
	case kid.json == "" || lastWins:
		kid.json, kid.empty = json, empty
	}
	return nil
}

func conflict(key string) error {
	return fmt.Errorf("%w: invalid multiple values to key %q in tree", ErrBadRequest, key)
}

// child returns the child of that name, made of the kind when there is none.
func (n *node) child(key string, kind nodeKind) *node {
	if n.index != nil {
		if kid := n.index[key]; kid != nil {
			return kid
		}
	} else {
		for _, kid := range n.kids {
			if kid.key == key {
				return kid
			}
		}
	}
	kid := &node{key: key, kind: kind}
	n.kids = append(n.kids, kid)
	if n.index == nil && len(n.kids) > indexFrom {
		n.index = make(map[string]*node, 2*len(n.kids))
		for _, k := range n.kids {
			n.index[k.key] = k
		}
	} else if n.index != nil {
		n.index[key] = kid
	}
	return kid
}

// splitKey splits a[b][] into "a", "b", "". Spaces are dropped, and brackets that do not match are read as separators.
func splitKey(key string) []string {
	segments := make([]string, 1, 4)
	var b strings.Builder
	opened, separated := false, false
	for _, c := range key {
		switch c {
		case ' ':
		case '[':
			segments[len(segments)-1] += b.String()
			b.Reset()
			opened, separated = true, false
		case ']':
			segments[len(segments)-1] += b.String()
			b.Reset()
			if opened {
				segments = append(segments, "")
			}
			opened, separated = false, true
		default:
			if opened || separated {
				segments = append(segments, "")
			}
			opened, separated = false, false
			b.WriteRune(c)
		}
		if len(segments) > maxDepth {
			return segments
		}
	}
	segments[len(segments)-1] += b.String()
	return segments
}

// appendJSON appends the document, or nothing for a tree without fields.
func (t *tree) appendJSON(b []byte) []byte {
	if len(t.root.kids) == 0 {
		return b
	}
	return t.root.appendJSON(b)
}

func (n *node) appendJSON(b []byte) []byte {
	switch n.kind {
	case leaf:
		return append(b, n.json...)
	case list:
		b = append(b, '[')
		for i, kid := range n.kids {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, kid.json...)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i, kid := range n.kids {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, kid.key)
		b = append(b, ':')
		b = kid.appendJSON(b)
	}
	return append(b, '}')
}

// appendJSONString appends s quoted. Bytes that are no UTF-8 become U+FFFD: PHP's json_decode refuses them.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0 // of what is taken as it is
	for i := 0; i < len(s); {
		c := s[i]
		if ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = utf8.AppendRune(b, utf8.RuneError)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, '\\', c)
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
