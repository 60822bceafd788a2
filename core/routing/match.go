// Package routing finds the route of a request: the first in the order of edge.yaml whose conditions all hold. However many routes
// there are, only those are looked at whose host and path fit, which a tree of path segments finds for each host.
package routing

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/core/configfile"
	"github.com/edge-server/edge/internal/urlpath"
)

// Match is a set of conditions, all of which must hold. An empty list always holds; of a list, one element must.
type Match struct {
	// Host names, without port. *.example.com matches one more label.
	Host configfile.Strings `koanf:"host"`

	// Path is /exact, /prefix/* for everything below, /users/{id} with names for whole segments, {rest...} for all that is left, or
	// ~ and a regular expression (RE2) that must match from the beginning to the end. Dot segments and double slashes are resolved before the comparison.
	Path configfile.Strings `koanf:"path"`

	// Method such as GET (which includes HEAD) or POST.
	Method configfile.Strings `koanf:"method"`

	// Header maps names to the value one of the header's lines must have: a text, * for any, ~ and a regular expression, or an empty
	// text when there must be no such header. Default none.
	Header map[string]string `koanf:"header"`

	// Query maps parameters to values, as in header. Default none.
	Query map[string]string `koanf:"query"`

	// Client is addresses and ranges such as 10.0.0.0/8 that the client's address must be in.
	Client configfile.Strings `koanf:"client"`
}

// Validate checks the conditions.
func (m *Match) Validate() error {
	var errs []error
	for i, text := range m.Path {
		if _, err := parsePath(text); err != nil {
			errs = append(errs, fmt.Errorf("path[%d]: %w", i, err))
		}
	}
	for i, host := range m.Host {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*/: ") {
			errs = append(errs, fmt.Errorf("host[%d]: %q is not a host name: write example.com or *.example.com, without scheme and port", i, host))
		}
	}
	for i, method := range m.Method {
		if method == "" || method != strings.ToUpper(method) {
			errs = append(errs, fmt.Errorf("method[%d]: %q: methods are written in capitals, such as GET", i, method))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		if !httpguts.ValidHeaderFieldName(name) {
			errs = append(errs, fmt.Errorf("header: %q is not a header name", name))
		}
		errs = append(errs, badValue("header."+name, m.Header[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Query)) {
		errs = append(errs, badValue("query."+name, m.Query[name]))
	}
	for i, text := range m.Client {
		if _, err := parseRange(text); err != nil {
			errs = append(errs, fmt.Errorf("client[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

func badValue(key, text string) error {
	if _, err := parseValue(text); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// parseRange reads an address or a range.
func parseRange(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return prefix, fmt.Errorf("%q is neither an address nor a range such as 10.0.0.0/8 or 2001:db8::/32", text)
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%q has bits set behind its length: write %s", text, prefix.Masked())
	}
	return prefix, nil
}

// value is a condition on a text.
type value struct {
	kind valueKind
	text string
	re   *regexp.Regexp
}

type valueKind uint8

const (
	valueIs valueKind = iota
	valueAny
	valueAbsent
	valueMatches
)

func parseValue(text string) (value, error) {
	switch {
	case text == "":
		return value{kind: valueAbsent}, nil
	case text == "*":
		return value{kind: valueAny}, nil
	case strings.HasPrefix(text, "~"):
		re, err := wholeRegexp(text[1:])
		return value{kind: valueMatches, re: re}, err
	}
	return value{kind: valueIs, text: text}, nil
}

// holds reports whether the condition holds of the values that there are.
func (v *value) holds(have []string) bool {
	if v.kind == valueAbsent {
		return len(have) == 0
	}
	for _, text := range have {
		if v.kind == valueAny || v.kind == valueIs && text == v.text || v.kind == valueMatches && v.re.MatchString(text) {
			return true
		}
	}
	return false
}

// wholeRegexp compiles an expression that must match all of a text.
func wholeRegexp(text string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(`^(?:` + text + `)$`)
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", text, err)
	}
	return re, nil
}

// pattern is a compiled path.
type pattern struct {
	segments []segment
	below    bool           // and everything below
	rest     string         // the name of what is below
	re       *regexp.Regexp // instead of segments
}

// segment is a literal, or a name for whatever stands there.
type segment struct {
	literal string
	name    string
}

func parsePath(source string) (pattern, error) {
	if re, ok := strings.CutPrefix(source, "~"); ok {
		compiled, err := wholeRegexp(re)
		return pattern{re: compiled}, err
	}
	if !strings.HasPrefix(source, "/") {
		return pattern{}, fmt.Errorf("%q must begin with /, or with ~ for a regular expression", source)
	}
	if clean, ok := Clean(source); !ok || clean != source {
		return pattern{}, fmt.Errorf("%q never matches: paths are compared without double slashes and dot segments", source)
	}
	var p pattern
	names := map[string]bool{}
	texts := strings.Split(source[1:], "/")
	for i, text := range texts {
		last := i == len(texts)-1
		name, named := nameOf(text)
		switch {
		case last && text == "*":
			p.below = true
		case last && named && strings.HasSuffix(name, "..."):
			p.below, p.rest = true, strings.TrimSuffix(name, "...")
			name = p.rest
		case named:
			p.segments = append(p.segments, segment{name: name})
		case strings.ContainsRune(text, '*'):
			return pattern{}, fmt.Errorf("%q: a * may only end the pattern, as in /api/*", source)
		case strings.ContainsAny(text, "{}"):
			return pattern{}, fmt.Errorf("%q: a name stands for a whole segment, as in /users/{id}", source)
		default:
			p.segments = append(p.segments, segment{literal: text})
		}
		if named && (!isName(name) || names[name]) {
			return pattern{}, fmt.Errorf("%q: {%s}: names are letters, digits and underscores, each once; {name...} may only end the pattern", source, name)
		}
		names[name] = named || names[name]
	}
	return p, nil
}

func nameOf(text string) (string, bool) {
	if len(text) > 2 && text[0] == '{' && text[len(text)-1] == '}' {
		return text[1 : len(text)-1], true
	}
	return "", false
}

func isName(text string) bool {
	for i, c := range text {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// Clean is the path as patterns are compared with it, so that /public/../admin is matched as /admin whatever the target makes of it.
// It reports false for a path that climbs above the root.
func Clean(p string) (string, bool) {
	if p == "*" { // OPTIONS *
		return "/", true
	}
	return urlpath.Clean(p)
}
