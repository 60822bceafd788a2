package main

import (
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// findings are what is wrong with a value: the first few.
type findings struct {
	list []finding
	max  int
}

// place is where a value is in the body: a list from the inside out, written down only when something is wrong there.
type place struct {
	outer *place
	name  string
}

func (p *place) inside(name string) *place { return &place{p, name} }

func (p *place) item(i int) *place { return &place{p, strconv.Itoa(i)} }

// pointer is a JSON pointer as a fragment of a URI (RFC 6901, 6).
func (p *place) pointer() string {
	if p == nil {
		return "#"
	}
	name := strings.NewReplacer("~", "~0", "/", "~1").Replace(p.name)
	var out strings.Builder
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"%<>\\^`{|}#[]", c) >= 0 {
			const digits = "0123456789ABCDEF"
			out.WriteString("%" + string(digits[c>>4]) + string(digits[c&15]))
			continue
		}
		out.WriteByte(c)
	}
	return p.outer.pointer() + "/" + out.String()
}

// wrong notes something. f is nil where only the fact counts: in anyOf, not, if.
func (f *findings) wrong(at *place, detail string) bool {
	if f != nil && len(f.list) < f.max {
		f.list = append(f.list, finding{at.pointer(), detail})
	}
	return false
}

// enough reports that there is no point in going on.
func (f *findings) enough() bool { return f == nil || len(f.list) >= f.max }

// check reports whether a value matches, and notes in f what does not.
func (s *schema) check(v any, at *place, f *findings) bool {
	if s.never {
		return f.wrong(at, "nothing is allowed here")
	}
	kind := typeOf(v)
	if s.types != nil && !slices.Contains(s.types, kind) && !(kind == "integer" && slices.Contains(s.types, "number")) {
		return f.wrong(at, "must be "+strings.Join(s.types, " or ")+", is "+kind)
	}
	ok := true
	if s.enum != nil && !slices.Contains(s.enum, canonical(v)) {
		ok = f.wrong(at, "must be one of "+s.wanted)
	}
	switch v := v.(type) {
	case json.Number:
		ok = s.checkNumber(rational(v), at, f) && ok
	case string:
		ok = s.checkText(v, at, f) && ok
	case []any:
		ok = s.checkList(v, at, f) && ok
	case map[string]any:
		ok = s.checkObject(v, at, f) && ok
	}
	if !ok && f.enough() {
		return false
	}
	return s.checkParts(v, at, f) && ok
}

func (s *schema) checkNumber(n *big.Rat, at *place, f *findings) bool {
	ok := true
	if s.minimum != nil && n.Cmp(s.minimum) < 0 {
		ok = f.wrong(at, "must be at least "+decimal(s.minimum))
	}
	if s.maximum != nil && n.Cmp(s.maximum) > 0 {
		ok = f.wrong(at, "must be at most "+decimal(s.maximum))
	}
	if s.aboveMinimum != nil && n.Cmp(s.aboveMinimum) <= 0 {
		ok = f.wrong(at, "must be above "+decimal(s.aboveMinimum))
	}
	if s.belowMaximum != nil && n.Cmp(s.belowMaximum) >= 0 {
		ok = f.wrong(at, "must be below "+decimal(s.belowMaximum))
	}
	if s.multipleOf != nil && !new(big.Rat).Quo(n, s.multipleOf).IsInt() {
		ok = f.wrong(at, "must be a multiple of "+decimal(s.multipleOf))
	}
	return ok
}

// decimal is a number as people write it.
func decimal(n *big.Rat) string {
	if n.IsInt() {
		return n.Num().String()
	}
	return strings.TrimRight(n.FloatString(20), "0")
}

func (s *schema) checkText(v string, at *place, f *findings) bool {
	ok := true
	if n := utf8.RuneCountInString(v); s.minLength > n {
		ok = f.wrong(at, "must have at least "+strconv.Itoa(s.minLength)+" characters")
	} else if s.maxLength != unbounded && n > s.maxLength {
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxLength)+" characters") // and is not looked at further
	}
	if s.pattern != nil && !s.pattern.MatchString(v) {
		ok = f.wrong(at, "must match "+s.pattern.String())
	}
	if s.format != nil && !s.format(v) {
		ok = f.wrong(at, "must be of the format "+s.formatName)
	}
	return ok
}

func (s *schema) checkList(v []any, at *place, f *findings) bool {
	if s.minItems > len(v) {
		return f.wrong(at, "must have at least "+strconv.Itoa(s.minItems)+" items")
	}
	if s.maxItems != unbounded && len(v) > s.maxItems {
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxItems)+" items")
	}
	ok := true
	for i, item := range v {
		one := s.items
		if i < len(s.prefix) {
			one = s.prefix[i]
		}
		if one == nil {
			continue
		}
		if !one.check(item, at.item(i), f) {
			if ok = false; f.enough() {
				return false
			}
		}
	}
	return s.checkContains(v, at, f) && s.checkUnique(v, at, f) && ok
}

func (s *schema) checkContains(v []any, at *place, f *findings) bool {
	if s.contains == nil {
		return true
	}
	n := 0
	for _, item := range v {
		if s.contains.check(item, nil, nil) {
			n++
		}
	}
	switch {
	case n < s.minContains:
		return f.wrong(at, "must have at least "+strconv.Itoa(s.minContains)+" of the items that it should contain")
	case s.maxContains != unbounded && n > s.maxContains:
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxContains)+" of the items that it may contain")
	}
	return true
}

func (s *schema) checkUnique(v []any, at *place, f *findings) bool {
	if !s.unique {
		return true
	}
	seen := make(map[string]int, len(v))
	for i, item := range v {
		text := canonical(item)
		if first, twice := seen[text]; twice {
			return f.wrong(at.item(i), "must not be the same as item "+strconv.Itoa(first))
		}
		seen[text] = i
	}
	return true
}

func (s *schema) checkObject(v map[string]any, at *place, f *findings) bool {
	ok := true
	if s.minProps > len(v) {
		ok = f.wrong(at, "must have at least "+strconv.Itoa(s.minProps)+" members")
	}
	if s.maxProps != unbounded && len(v) > s.maxProps {
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxProps)+" members")
	}
	for _, name := range s.required {
		if _, there := v[name]; !there {
			ok = f.wrong(at.inside(name), "is missing")
		}
	}
	for name, others := range s.dependentRequired {
		if _, there := v[name]; !there {
			continue
		}
		for _, other := range others {
			if _, there := v[other]; !there {
				ok = f.wrong(at.inside(other), "is missing, beside "+strconv.Quote(name))
			}
		}
	}
	if s.properties == nil && s.patterns == nil && s.additional == nil && s.names == nil {
		return ok
	}
	for _, name := range sortedNames(v) {
		if !s.checkMember(name, v[name], at.inside(name), f) {
			if ok = false; f.enough() {
				return false
			}
		}
	}
	return ok
}

func (s *schema) checkMember(name string, v any, at *place, f *findings) bool {
	ok := true
	if s.names != nil && !s.names.check(name, nil, nil) {
		ok = f.wrong(at, "has a name that is not allowed")
	}
	known := false
	if one := s.properties[name]; one != nil {
		known = true
		ok = one.check(v, at, f) && ok
	}
	for _, p := range s.patterns {
		if p.name.MatchString(name) {
			known = true
			ok = p.schema.check(v, at, f) && ok
		}
	}
	if known || s.additional == nil {
		return ok
	}
	if s.additional.never {
		return f.wrong(at, "is not known here")
	}
	return s.additional.check(v, at, f) && ok
}

// checkParts applies the schemas that are of the same value.
func (s *schema) checkParts(v any, at *place, f *findings) bool {
	ok := s.ref == nil || s.ref.check(v, at, f)
	for _, one := range s.allOf {
		ok = one.check(v, at, f) && ok
	}
	if s.anyOf != nil && matching(s.anyOf, v, 1) == 0 {
		ok = f.wrong(at, "matches none of the "+strconv.Itoa(len(s.anyOf))+" schemas of anyOf")
	}
	if s.oneOf != nil {
		if n := matching(s.oneOf, v, 2); n == 0 {
			ok = f.wrong(at, "matches none of the "+strconv.Itoa(len(s.oneOf))+" schemas of oneOf")
		} else if n > 1 {
			ok = f.wrong(at, "matches more than one of the schemas of oneOf")
		}
	}
	if s.not != nil && s.not.check(v, nil, nil) {
		ok = f.wrong(at, "matches what it must not")
	}
	if s.condition != nil {
		branch := s.otherwise
		if s.condition.check(v, nil, nil) {
			branch = s.then
		}
		ok = (branch == nil || branch.check(v, at, f)) && ok
	}
	if members, isObject := v.(map[string]any); isObject {
		for name, one := range s.dependentSchemas {
			if _, there := members[name]; there {
				ok = one.check(v, at, f) && ok
			}
		}
	}
	return ok
}

// matching counts the schemas that match, up to enough.
func matching(list []*schema, v any, enough int) int {
	n := 0
	for _, one := range list {
		if one.check(v, nil, nil) {
			if n++; n == enough {
				break
			}
		}
	}
	return n
}
