package main

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// tape is one JSON value (RFC 8259) as a list of what is in it, made strictly and in one go: bodies are large, and an
// allocation for each value, or what a decoder for any type of Go spends on it, is more than a plugin has to spend.
type tape struct {
	text  string
	at    int // the next byte, while it is read
	nodes []node
	texts []string                     // those that had escapes
	names map[uint32]map[string]uint32 // of large objects: where the values are
	err   error
}

// node is a value, or the name of a member, which stands in front of its value. What is in an array or object follows it.
type node struct {
	kind       kind
	start, end uint32 // of a text or number, in the text of the tape; start of an escaped one is its place in texts
	size       uint32 // of an array or object: items or members
	next       uint32 // the node behind all that is in it
}

type kind uint8

const (
	isNull kind = iota
	isTrue
	isFalse
	isNumber
	isText
	isEscaped // a text, too
	isArray
	isObject
)

// small objects are searched name by name.
const small = 16

var (
	errEnds  = errors.New("it ends too early")
	errDeep  = errors.New("it is too deep")
	errTwice = errors.New("an object has a name twice")
	errLong  = errors.New("a number is too long")
)

// read reads text, of at most depth arrays and objects in each other.
func (d *tape) read(depth int) error {
	if !d.value(depth) {
		return d.err
	}
	if d.next(); d.at < len(d.text) {
		return errors.New("something is behind its end")
	}
	return nil
}

func (d *tape) fail(err error) bool {
	d.err = err
	return false
}

// expected says what should have been at the next byte.
func (d *tape) expected(what string) bool {
	if d.at >= len(d.text) {
		return d.fail(errEnds)
	}
	found, _ := utf8.DecodeRuneInString(d.text[d.at:])
	return d.fail(errors.New(strconv.QuoteRune(found) + " at byte " + strconv.Itoa(d.at) + " where " + what + " should be"))
}

// next skips white space and returns the byte behind it, without taking it; 0 at the end, and 0 is nowhere allowed.
func (d *tape) next() byte {
	at, t := d.at, d.text
	for at < len(t) {
		c := t[at]
		if c > ' ' || c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			d.at = at
			return c
		}
		at++
	}
	d.at = at
	return 0
}

func (d *tape) add(k kind, start, end int) bool {
	i := len(d.nodes)
	if i == cap(d.nodes) {
		d.nodes = slices.Grow(d.nodes, i+64) // twice as many
	}
	d.nodes = d.nodes[:i+1]
	n := &d.nodes[i]
	n.kind, n.start, n.end, n.size, n.next = k, uint32(start), uint32(end), 0, uint32(i+1)
	return true
}

// value reads a value. Numbers and texts without escapes stay where they are.
func (d *tape) value(depth int) bool {
	switch c := d.next(); {
	case c == '"':
		return d.string()
	case c == '{' || c == '[':
		if depth == 0 {
			return d.fail(errDeep)
		}
		if d.at++; c == '[' {
			return d.array(depth - 1)
		}
		return d.object(depth - 1)
	case c == '-' || isDigit(c):
		return d.number()
	case c == 't':
		return d.word("true", isTrue)
	case c == 'f':
		return d.word("false", isFalse)
	case c == 'n':
		return d.word("null", isNull)
	}
	return d.expected("a value")
}

func (d *tape) word(word string, k kind) bool {
	for i := range len(word) {
		if d.at >= len(d.text) || d.text[d.at] != word[i] {
			return d.expected(word)
		}
		d.at++
	}
	return d.add(k, 0, 0)
}

// array reads what is behind a [.
func (d *tape) array(depth int) bool {
	at := len(d.nodes)
	d.add(isArray, 0, 0)
	if d.next() == ']' {
		d.at++
		return true
	}
	for size := uint32(1); ; size++ {
		if !d.value(depth) {
			return false
		}
		switch d.next() {
		case ',':
			d.at++
		case ']':
			d.at++
			d.nodes[at].size, d.nodes[at].next = size, uint32(len(d.nodes))
			return true
		default:
			return d.expected("a , or a ]")
		}
	}
}

// object reads what is behind a {.
func (d *tape) object(depth int) bool {
	at := len(d.nodes)
	d.add(isObject, 0, 0)
	if d.next() == '}' {
		d.at++
		return true
	}
	for size := uint32(1); ; size++ {
		if d.next() != '"' {
			return d.expected("a name in quotes")
		}
		if !d.string() {
			return false
		}
		if d.next() != ':' {
			return d.expected("a :")
		}
		d.at++
		if !d.value(depth) {
			return false
		}
		switch d.next() {
		case ',':
			d.at++
		case '}':
			d.at++
			d.nodes[at].size, d.nodes[at].next = size, uint32(len(d.nodes))
			return d.distinct(at)
		default:
			return d.expected("a , or a }")
		}
	}
}

// distinct sees to it that an object has no name twice, and makes the index of a large one.
func (d *tape) distinct(at int) bool {
	n := d.nodes[at]
	if n.size > small {
		index := make(map[string]uint32, n.size)
		for i := uint32(at) + 1; i < n.next; i = d.nodes[i+1].next {
			index[d.textOf(i)] = i + 1
		}
		if len(index) < int(n.size) {
			return d.fail(errTwice)
		}
		if d.names == nil {
			d.names = map[uint32]map[string]uint32{}
		}
		d.names[uint32(at)] = index
		return true
	}
	for i := uint32(at) + 1; i < n.next && n.size > 1; i = d.nodes[i+1].next {
		name := d.textOf(i)
		for j := uint32(at) + 1; j < i; j = d.nodes[j+1].next {
			if d.textOf(j) == name {
				return d.fail(errTwice)
			}
		}
	}
	return true
}

// member is the place of the value of a member, 0 without one.
func (d *tape) member(at uint32, name string) uint32 {
	n := &d.nodes[at]
	if n.size > small {
		return d.names[at][name]
	}
	for i := at + 1; i < n.next; i = d.nodes[i+1].next {
		if d.textOf(i) == name {
			return i + 1
		}
	}
	return 0
}

// textOf is a text, a name, or a number as it was written.
func (d *tape) textOf(at uint32) string {
	n := &d.nodes[at]
	if n.kind == isEscaped {
		return d.texts[n.start]
	}
	return d.text[n.start:n.end]
}

// tree is the value at a place as Go has it: numbers are json.Number.
func (d *tape) tree(at uint32) any {
	n := d.nodes[at]
	switch n.kind {
	case isTrue, isFalse:
		return n.kind == isTrue
	case isNumber:
		return json.Number(d.textOf(at))
	case isText, isEscaped:
		return d.textOf(at)
	case isArray:
		list := make([]any, 0, n.size)
		for i := at + 1; i < n.next; i = d.nodes[i].next {
			list = append(list, d.tree(i))
		}
		return list
	case isObject:
		members := make(map[string]any, n.size)
		for i := at + 1; i < n.next; i = d.nodes[i+1].next {
			members[d.textOf(i)] = d.tree(i + 1)
		}
		return members
	}
	return nil
}

// number reads a number as it is written.
func (d *tape) number() bool {
	start, exponent := d.at, 0
	if at, t := start+1, d.text; t[start] >= '1' { // a whole number, as most are
		for at < len(t) && isDigit(t[at]) {
			at++
		}
		if at-start <= 128 && (at == len(t) || t[at] != '.' && t[at]|0x20 != 'e') {
			d.at = at
			return d.add(isNumber, start, at)
		}
	}
	if d.peek() == '-' {
		d.at++
	}
	if d.peek() == '0' {
		d.at++
	} else if !d.digits() {
		return false
	}
	if d.peek() == '.' {
		d.at++
		if !d.digits() {
			return false
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.at++
		exponent = d.at
		if c := d.peek(); c == '+' || c == '-' {
			d.at++
		}
		if !d.digits() {
			return false
		}
	}
	if (exponent > 0 || d.at-start > 128) && !sane(json.Number(d.text[start:d.at])) {
		return d.fail(errLong)
	}
	return d.add(isNumber, start, d.at)
}

// peek is the next byte, 0 at the end.
func (d *tape) peek() byte {
	if d.at < len(d.text) {
		return d.text[d.at]
	}
	return 0
}

func (d *tape) digits() bool {
	start := d.at
	for d.at < len(d.text) && isDigit(d.text[d.at]) {
		d.at++
	}
	return d.at > start || d.expected("a digit")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// string reads a text in quotes.
func (d *tape) string() bool {
	start, t := d.at+1, d.text
	d.at = start
	for d.at < len(t) {
		switch c := t[d.at]; {
		case c > '"' && c != '\\':
		case c == '"':
			d.at++
			return d.add(isText, start, d.at-1)
		case c == '\\':
			one, err := d.escaped(start)
			if err != nil {
				return d.fail(err)
			}
			d.texts = append(d.texts, one)
			return d.add(isEscaped, len(d.texts)-1, 0)
		case c < ' ':
			return d.expected("a character of a text, or its end,")
		}
		d.at++
	}
	return d.fail(errEnds)
}

// escaped reads a text on from its first escape; it began at start.
func (d *tape) escaped(start int) (string, error) {
	var out strings.Builder
	for d.at < len(d.text) {
		c := d.text[d.at]
		if c != '"' && c != '\\' && c >= ' ' {
			d.at++
			continue
		}
		out.WriteString(d.text[start:d.at])
		switch c {
		case '"':
			d.at++
			return out.String(), nil
		case '\\':
			d.at++
			one, err := d.escape()
			if err != nil {
				return "", err
			}
			out.WriteRune(one)
			start = d.at
		default:
			return "", d.wanted("a character of a text, or its end,")
		}
	}
	return "", errEnds
}

// escape reads what is behind a backslash. Half of a surrogate pair becomes U+FFFD, as most decoders have it.
func (d *tape) escape() (rune, error) {
	c := d.peek()
	if c == 'u' {
		d.at++
		return d.unicode()
	}
	at := strings.IndexByte(`"\/bfnrt`, c)
	if at < 0 {
		return 0, d.wanted("an escape such as \\n or \\u00e4")
	}
	d.at++
	return rune("\"\\/\b\f\n\r\t"[at]), nil
}

func (d *tape) unicode() (rune, error) {
	first, err := d.hex()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	behind := d.at
	if strings.HasPrefix(d.text[d.at:], `\u`) {
		d.at += 2
		second, err := d.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(first, second); pair != utf8.RuneError {
			return pair, nil
		}
		d.at = behind // the second one counts for itself
	}
	return utf8.RuneError, nil
}

// hex reads four digits.
func (d *tape) hex() (n rune, err error) {
	for range 4 {
		switch c := d.peek(); {
		case isDigit(c):
			n = n<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			n = n<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, d.wanted("a hexadecimal digit")
		}
		d.at++
	}
	return n, nil
}

func (d *tape) wanted(what string) error {
	d.expected(what)
	return d.err
}
