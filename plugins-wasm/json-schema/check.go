package main

import (
	"cmp"
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
	index int // of an item, whose name is ""
	list  bool
}

func (p *place) inside(name string) *place { return &place{outer: p, name: name} }

func (p *place) item(i int) *place { return &place{outer: p, index: i, list: true} }

// pointer is a JSON pointer as a fragment of a URI (RFC 6901, 6).
func (p *place) pointer() string {
	if p == nil {
		return "#"
	}
	name := strings.NewReplacer("~", "~0", "/", "~1").Replace(p.name)
	if p.list {
		name = strconv.Itoa(p.index)
	}
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

// value is a place on a tape.
type value struct {
	*tape
	at uint32
}

func (v value) size() int { return int(v.nodes[v.at].size) }

// name is the name of the member that v is the value of.
func (v value) name() value { return value{v.tape, v.at - 1} }

// end bounds a loop over items: for at := v.at + 1; at < v.end(); at = v.nodes[at].next. Of members it goes on with what
// is behind the value at at+1.
func (v value) end() uint32 { return v.nodes[v.at].next }

// check reports whether a value matches, and notes in f what does not.
func (s *schema) check(v value, at *place, f *findings) bool {
	if s.never {
		return f.wrong(at, "nothing is allowed here")
	}
	if s.types != nil && !s.takes(v) {
		kind := v.typeOf(v.at)
		return f.wrong(at, "must be "+strings.Join(s.types, " or ")+", is "+kind)
	}
	ok := true
	if s.enum != nil && !slices.Contains(s.enum, canonical(v.tree(v.at))) {
		ok = f.wrong(at, "must be one of "+s.wanted)
	}
	switch v.nodes[v.at].kind {
	case isNumber:
		if s.minimum != nil || s.maximum != nil || s.aboveMinimum != nil || s.belowMaximum != nil || s.multipleOf != nil {
			ok = s.checkNumber(json.Number(v.textOf(v.at)), at, f) && ok
		}
	case isText, isEscaped:
		ok = s.checkText(v.textOf(v.at), at, f) && ok
	case isArray:
		ok = s.checkList(v, at, f) && ok
	case isObject:
		ok = s.checkObject(v, at, f) && ok
	}
	if !ok && f.enough() {
		return false
	}
	if s.ref == nil && s.allOf == nil && s.anyOf == nil && s.oneOf == nil && s.not == nil && s.condition == nil && s.dependentSchemas == nil {
		return ok // a call costs a guest more than these
	}
	return s.checkParts(v, at, f) && ok
}

// takes reports whether a value is of one of the types.
func (s *schema) takes(v value) bool {
	kind := v.typeOf(v.at)
	for _, name := range s.types {
		if name == kind || name == "number" && kind == "integer" {
			return true
		}
	}
	return false
}

func (s *schema) checkNumber(text json.Number, at *place, f *findings) bool {
	ok := true
	n := measure(text)
	if s.minimum != nil && n.cmp(s.minimum) < 0 {
		ok = f.wrong(at, "must be at least "+decimal(s.minimum))
	}
	if s.maximum != nil && n.cmp(s.maximum) > 0 {
		ok = f.wrong(at, "must be at most "+decimal(s.maximum))
	}
	if s.aboveMinimum != nil && n.cmp(s.aboveMinimum) <= 0 {
		ok = f.wrong(at, "must be above "+decimal(s.aboveMinimum))
	}
	if s.belowMaximum != nil && n.cmp(s.belowMaximum) >= 0 {
		ok = f.wrong(at, "must be below "+decimal(s.belowMaximum))
	}
	if s.multipleOf != nil && !n.multiple(s.multipleOf) {
		ok = f.wrong(at, "must be a multiple of "+decimal(s.multipleOf))
	}
	return ok
}

// measured is a number to compare. Whole ones of few digits, as most are, need no exact arithmetic, which costs a guest much.
type measured struct {
	text  json.Number
	whole int64
	small bool
	exact *big.Rat // once it was needed
}

func measure(text json.Number) measured {
	m := measured{text: text, small: len(text) <= 18}
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	for i := 0; i < len(digits) && m.small; i++ {
		m.small = isDigit(digits[i])
		m.whole = m.whole*10 + int64(digits[i]-'0')
	}
	if len(digits) < len(text) {
		m.whole = -m.whole
	}
	return m
}

// fits reports whether a limit can be compared with whole.
func (m *measured) fits(limit *big.Rat) bool {
	if m.small && limit.IsInt() && limit.Num().IsInt64() {
		return true
	}
	if m.exact == nil {
		m.exact = rational(m.text)
	}
	return false
}

func (m *measured) cmp(limit *big.Rat) int {
	if m.fits(limit) {
		return cmp.Compare(m.whole, limit.Num().Int64())
	}
	return m.exact.Cmp(limit)
}

func (m *measured) multiple(of *big.Rat) bool {
	if m.fits(of) {
		return m.whole%of.Num().Int64() == 0
	}
	return new(big.Rat).Quo(m.exact, of).IsInt()
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
	if s.minLength == 0 && s.maxLength == unbounded && s.pattern == nil && s.format == nil {
		return true
	}
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

func (s *schema) checkList(v value, at *place, f *findings) bool {
	if s.minItems > v.size() {
		return f.wrong(at, "must have at least "+strconv.Itoa(s.minItems)+" items")
	}
	if s.maxItems != unbounded && v.size() > s.maxItems {
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxItems)+" items")
	}
	ok, here := true, at.item(0) // one for all, since what is wrong is written down at once
	if v.size() == 0 || s.prefix == nil && s.items == nil {
		return s.checkContains(v, at, f) && s.checkUnique(v, at, f)
	}
	for i, item := 0, v.at+1; item < v.end(); i, item = i+1, v.nodes[item].next {
		one := s.items
		if i < len(s.prefix) {
			one = s.prefix[i]
		}
		if one == nil {
			continue
		}
		if here.index = i; !one.check(value{v.tape, item}, here, f) {
			if ok = false; f.enough() {
				return false
			}
		}
	}
	return s.checkContains(v, at, f) && s.checkUnique(v, at, f) && ok
}

func (s *schema) checkContains(v value, at *place, f *findings) bool {
	if s.contains == nil {
		return true
	}
	n := 0
	for item := v.at + 1; item < v.end(); item = v.nodes[item].next {
		if s.contains.check(value{v.tape, item}, nil, nil) {
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

func (s *schema) checkUnique(v value, at *place, f *findings) bool {
	if !s.unique {
		return true
	}
	seen := make(map[string]int, v.size())
	for i, item := 0, v.at+1; item < v.end(); i, item = i+1, v.nodes[item].next {
		text := canonical(v.tree(item))
		if first, twice := seen[text]; twice {
			return f.wrong(at.item(i), "must not be the same as item "+strconv.Itoa(first))
		}
		seen[text] = i
	}
	return true
}

func (s *schema) checkObject(v value, at *place, f *findings) bool {
	ok := true
	if s.minProps > v.size() {
		ok = f.wrong(at, "must have at least "+strconv.Itoa(s.minProps)+" members")
	}
	if s.maxProps != unbounded && v.size() > s.maxProps {
		return f.wrong(at, "must have at most "+strconv.Itoa(s.maxProps)+" members")
	}
	for _, name := range s.required {
		if v.member(v.at, name) == 0 {
			ok = f.wrong(at.inside(name), "is missing")
		}
	}
	for name, others := range s.dependentRequired {
		if v.member(v.at, name) == 0 {
			continue
		}
		for _, other := range others {
			if v.member(v.at, other) == 0 {
				ok = f.wrong(at.inside(other), "is missing, beside "+strconv.Quote(name))
			}
		}
	}
	if s.properties == nil && s.patterns == nil && s.additional == nil && s.names == nil || v.size() == 0 {
		return ok
	}
	here := at.inside("")
	for member := v.at + 1; member < v.end(); member = v.nodes[member+1].next {
		if here.name = v.textOf(member); !s.checkMember(here.name, value{v.tape, member + 1}, here, f) {
			if ok = false; f.enough() {
				return false
			}
		}
	}
	return ok
}

func (s *schema) checkMember(name string, v value, at *place, f *findings) bool {
	ok := true
	if s.names != nil && !s.names.check(v.name(), nil, nil) {
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
func (s *schema) checkParts(v value, at *place, f *findings) bool {
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
	if v.nodes[v.at].kind == isObject {
		for name, one := range s.dependentSchemas {
			if v.member(v.at, name) != 0 {
				ok = one.check(v, at, f) && ok
			}
		}
	}
	return ok
}

// matching counts the schemas that match, up to enough.
func matching(list []*schema, v value, enough int) int {
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
