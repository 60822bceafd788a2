package rrcompat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// part is a section while it is read: what nobody asks for is unknown in the end.
type part struct {
	t   *translation
	key string // http.pool
	v   *value // nil: the section is not there
}

func (p part) present() bool { return p.v != nil }

// entry returns a value that is there and not empty, and marks it as read.
func (p part) entry(name string) *entry {
	if p.v == nil {
		return nil
	}
	e := p.v.find(name)
	if e == nil {
		return nil
	}
	e.used = true
	if e.kind == null || e.kind == scalar && e.text == "" {
		return nil
	}
	return e
}

func (p part) has(name string) bool { return p.entry(name) != nil }

// path is the full key of a value.
func (p part) path(name string) string {
	if p.key == "" {
		return name
	}
	return p.key + "." + name
}

// section returns a section. One that is empty is there; a scalar or a list in its place is a mistake.
func (p part) section(name string) part {
	none := part{t: p.t, key: p.path(name)}
	if p.v == nil {
		return none
	}
	e := p.v.find(name)
	if e == nil {
		return none
	}
	e.used = true
	if e.kind == list || e.kind == scalar && e.text != "" {
		p.t.refuse(e, p.path(name), "is a section and has a value here")
		return none
	}
	return part{t: p.t, key: p.path(name), v: &e.value}
}

// text returns a value with its variables expanded.
func (p part) text(name string) string {
	e := p.entry(name)
	if e == nil {
		return ""
	}
	if e.kind != scalar {
		p.t.refuse(e, p.path(name), "must be one text")
		return ""
	}
	return p.t.expand(e.text)
}

// ref returns a text as edge.yaml has it: expanded, or with its variables.
func (p part) ref(name string) string {
	if e := p.entry(name); e != nil && e.kind == scalar {
		return p.t.ref(e.text)
	}
	return escape(p.text(name))
}

// refs returns a list as edge.yaml has it. A text is split on commas or, when it has none, on spaces.
func (p part) refs(name string) []string {
	e := p.entry(name)
	if e == nil {
		return nil
	}
	if e.kind == section {
		p.t.refuse(e, p.path(name), "must be a list")
		return nil
	}
	return splitList(&e.value, p.t.ref)
}

// texts returns a list, expanded.
func (p part) texts(name string) []string {
	if e := p.entry(name); e != nil && e.kind != section {
		return splitList(&e.value, p.t.expand)
	}
	return nil
}

// splitList reads a list, or a text with commas or spaces in it.
func splitList(v *value, convert func(string) string) []string {
	var all []string
	if v.kind == scalar {
		separator := ","
		if !strings.Contains(v.text, ",") {
			separator = " "
		}
		for _, item := range splitOutside(v.text, separator) {
			if item = strings.TrimSpace(item); item != "" {
				all = append(all, convert(item))
			}
		}
	}
	for _, item := range v.list {
		if item.kind == scalar {
			all = append(all, convert(item.text))
		}
	}
	return all
}

// splitOutside splits text on separators that are not inside of ${…}.
func splitOutside(text, separator string) []string {
	var items []string
	depth, begin := 0, 0
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			depth++
		case text[i] == '}' && depth > 0:
			depth--
		case text[i] == separator[0] && depth == 0:
			items = append(items, text[begin:i])
			begin = i + 1
		}
	}
	return append(items, text[begin:])
}

// command splits as RoadRunner does: a text with commas on these, else on spaces.
func (p part) command(name string) []string { return p.refs(name) }

// pairs are the keys and texts of a section such as env, or of a list of such sections, in their order. Keys keep their case.
func (p part) pairs(name string) [][2]string {
	e := p.entry(name)
	if e == nil {
		return nil
	}
	var pairs [][2]string
	add := func(v *value) {
		for _, item := range v.entries {
			item.used = true
			if item.kind == scalar || item.kind == null {
				pairs = append(pairs, [2]string{item.name, p.t.ref(item.text)})
			} else {
				p.t.refuse(item, p.path(name)+"."+item.name, "must be one text")
			}
		}
	}
	switch e.kind {
	case section:
		add(&e.value)
	case list:
		for _, item := range e.list {
			add(item)
		}
	default:
		p.t.refuse(e, p.path(name), "must be a mapping of names to texts")
	}
	return pairs
}

// integer returns a whole number, or def.
func (p part) integer(name string, def int) int {
	e := p.entry(name)
	if e == nil {
		return def
	}
	text := p.text(name)
	if text == "" {
		return def // a variable that is not set
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil || n < 0 || n > math.MaxInt32 {
		p.t.refuse(e, p.path(name), "%q is not a whole number of 0 or more", text)
		return def
	}
	p.t.fixed(e, p.path(name))
	return int(n)
}

// boolean returns true or false, or def.
func (p part) boolean(name string, def bool) bool {
	e := p.entry(name)
	if e == nil {
		return def
	}
	text := p.text(name)
	switch strings.ToLower(text) {
	case "":
		return def
	case "yes", "on":
		return true
	case "no", "off":
		return false
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		p.t.refuse(e, p.path(name), "%q is neither true nor false", text)
		return def
	}
	p.t.fixed(e, p.path(name))
	return b
}

// duration returns a duration and whether there is one.
func (p part) duration(name string) (time.Duration, bool) {
	e := p.entry(name)
	if e == nil {
		return 0, false
	}
	text := p.text(name)
	if text == "" {
		return 0, false
	}
	p.t.fixed(e, p.path(name))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		if n == 0 {
			return 0, true
		}
		if !e.number {
			p.t.refuse(e, p.path(name), "%q has no unit: write %ss", text, text)
			return 0, false
		}
		p.t.warn(p.path(name), "%d has no unit and is %s in RoadRunner: write %ds for seconds", n, time.Duration(n), n)
		return time.Duration(n), true
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		p.t.refuse(e, p.path(name), "%q is not a duration such as 60s or 1m30s", text)
		return 0, false
	}
	return d, true
}

// known marks values that are read elsewhere, or need not be.
func (p part) known(names ...string) {
	for _, name := range names {
		if p.v != nil {
			if e := p.v.find(name); e != nil {
				e.used = true
				take(&e.value)
			}
		}
	}
}

// take marks everything below v as read.
func take(v *value) {
	v.used = true
	for _, e := range v.entries {
		take(&e.value)
	}
}

// unread lists the keys below v that nobody asked for.
func unread(v *value, key string, found func(key string, e *entry)) {
	for _, e := range v.entries {
		name := e.name
		if key != "" {
			name = key + "." + e.name
		}
		if !e.used {
			found(name, e)
			continue
		}
		unread(&e.value, name, found)
	}
}

// size writes megabytes as edge.yaml does.
func size(megabytes int) string { return strconv.Itoa(megabytes) + "MiB" }

// short writes a duration without the zeros of its String.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func at(e *entry) string { return fmt.Sprintf("%s: ", e.at) }
