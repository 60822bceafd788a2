package mercure

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// URL patterns are those of the URL Pattern standard: a URL whose parts are patterns with :name, *, {groups} and (expressions), each with
// ?, + or *. A part that is left out in front is the hub's own, one behind means anything. Go's regular expressions take linear time; what
// they do not know (looking around, back references) and what makes them large (counted repetitions) is refused.

// hubURL is what relative topics and patterns belong to.
type hubURL struct {
	url   *url.URL
	parts [partCount]string
}

// The parts of a URL.
const (
	partProtocol = iota
	partUsername
	partPassword
	partHostname
	partPort
	partPathname
	partSearch
	partHash
	partCount
)

func newHubURL(text string) (*hubURL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	h := &hubURL{url: u}
	h.parts, _ = h.split(text)
	return h, nil
}

var defaultPorts = map[string]string{"http": "80", "https": "443", "ws": "80", "wss": "443", "ftp": "21", "file": ""}

// split takes a topic apart, as a reference from the hub's URL. Not everything that is a topic can be.
func (h *hubURL) split(topic string) (parts [partCount]string, ok bool) {
	u, err := h.url.Parse(strings.ReplaceAll(topic, "\\", "/"))
	if err != nil {
		return parts, false
	}
	parts[partProtocol] = strings.ToLower(u.Scheme)
	if u.Opaque != "" {
		parts[partPathname] = u.Opaque
	} else {
		parts[partHostname] = strings.ToLower(u.Hostname())
		if parts[partPort] = u.Port(); parts[partPort] == defaultPorts[parts[partProtocol]] {
			parts[partPort] = ""
		}
		if parts[partPathname] = u.EscapedPath(); parts[partPathname] == "" {
			parts[partPathname] = "/"
		}
		if u.User != nil {
			parts[partUsername] = u.User.Username()
			parts[partPassword], _ = u.User.Password()
		}
	}
	parts[partSearch], parts[partHash] = u.RawQuery, u.EscapedFragment()
	return parts, true
}

// urlPattern is a pattern, compiled. A part without an expression is a literal or, with any, everything.
type urlPattern struct {
	base  *hubURL
	parts [partCount]partPattern
}

type partPattern struct {
	any     bool
	literal string
	re      *regexp.Regexp
}

func (p *partPattern) matches(text string) bool {
	if p.re != nil {
		return p.re.MatchString(text)
	}
	return p.any || p.literal == text
}

func (p *urlPattern) matches(topic string) bool {
	parts, ok := p.base.split(topic)
	if !ok {
		return false
	}
	for i := range parts {
		if !p.parts[i].matches(parts[i]) {
			return false
		}
	}
	return true
}

var errURLPattern = errors.New("it is no URL pattern")

// parseURLPattern compiles a pattern.
func parseURLPattern(text string, base *hubURL) (p *urlPattern, cost int, err error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, 0, err
	}
	given := splitPattern(tokens)
	p = &urlPattern{base: base}
	first := slices.IndexFunc(given[:], func(part []token) bool { return part != nil })
	for i := range given {
		var source string
		switch {
		case given[i] != nil:
			if p.parts[i], source, err = compilePart(i, given[i]); err != nil {
				return nil, 0, err
			}
			cost += len(source)
		case i == partUsername || i == partPassword:
			p.parts[i].any = true
		case i < first || first < 0:
			p.parts[i].literal = base.parts[i] // inherited
		case i == partHostname || i == partPort:
			p.parts[i].literal = "" // https://example.com/ means the default port, urn:a has no host
		default:
			p.parts[i].any = true
		}
	}
	if cost > maxPatternCost {
		return nil, 0, errors.New("it is too complicated")
	}
	return p, cost, nil
}

// token is a piece of a pattern.
type token struct {
	kind  byte // one of the following
	value string
}

const (
	tokenChar    = 'c'
	tokenEscaped = '\\'
	tokenName    = ':'
	tokenRegexp  = '('
	tokenOpen    = '{'
	tokenClose   = '}'
	tokenAny     = '*'
	tokenMod     = '+' // + or ?
)

func tokenize(text string) (list []token, err error) {
	for i := 0; i < len(text); {
		switch c := text[i]; c {
		case '*':
			list = append(list, token{tokenAny, "*"})
			i++
		case '+', '?':
			list = append(list, token{tokenMod, text[i : i+1]})
			i++
		case '{', '}':
			list = append(list, token{c, text[i : i+1]})
			i++
		case '\\':
			if i+1 == len(text) {
				return nil, fmt.Errorf("%w: it ends with a backslash", errURLPattern)
			}
			size := len([]rune(text[i+1:])[:1])
			size = len(string([]rune(text[i+1:])[:size]))
			list = append(list, token{tokenEscaped, text[i+1 : i+1+size]})
			i += 1 + size
		case ':':
			n := i + 1
			for n < len(text) && nameByte(text[n], n == i+1) {
				n++
			}
			if n == i+1 {
				list = append(list, token{tokenChar, ":"})
			} else {
				list = append(list, token{tokenName, text[i+1 : n]})
			}
			i = n
		case '(':
			n, err := closing(text, i)
			if err != nil {
				return nil, err
			}
			list = append(list, token{tokenRegexp, text[i+1 : n]})
			i = n + 1
		default:
			n := i + 1
			for n < len(text) && text[n] >= 0x80 && text[n] < 0xc0 { // the rest of a character
				n++
			}
			list = append(list, token{tokenChar, text[i:n]})
			i = n
		}
	}
	return list, nil
}

func nameByte(c byte, first bool) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 || !first && c >= '0' && c <= '9'
}

// closing finds the end of the expression that begins at text[i].
func closing(text string, i int) (int, error) {
	depth := 0
	for n := i; n < len(text); n++ {
		switch text[n] {
		case '\\':
			n++
		case '(':
			if depth++; depth > 1 && !strings.HasPrefix(text[n:], "(?:") {
				return 0, fmt.Errorf("%w: groups in an expression must be (?:…)", errURLPattern)
			}
		case '{':
			return 0, fmt.Errorf("%w: counted repetitions are not taken", errURLPattern)
		case ')':
			if depth--; depth == 0 {
				if n == i+1 {
					return 0, fmt.Errorf("%w: an expression is empty", errURLPattern)
				}
				return n, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: an expression is not closed", errURLPattern)
}

// isChar reports whether a token stands for a character that separates parts.
func (t token) isChar(c string) bool {
	return (t.kind == tokenChar || t.kind == tokenEscaped) && t.value == c
}

// startsSearch: a question mark after a name, a group or a wildcard makes that optional; any other begins the query.
func startsSearch(tokens []token, i int) bool {
	if tokens[i].isChar("?") {
		return true
	}
	if tokens[i].kind != tokenMod || tokens[i].value != "?" {
		return false
	}
	if i == 0 {
		return true
	}
	switch tokens[i-1].kind {
	case tokenName, tokenRegexp, tokenClose, tokenAny:
		return false
	}
	return true
}

// find returns the first token outside of groups for which f is true, or the number of tokens.
func find(tokens []token, f func(i int) bool) int {
	depth := 0
	for i := range tokens {
		switch tokens[i].kind {
		case tokenOpen:
			depth++
		case tokenClose:
			depth--
		default:
			if depth == 0 && f(i) {
				return i
			}
		}
	}
	return len(tokens)
}

// splitPattern divides a pattern into its parts. Those that are not there are nil.
func splitPattern(tokens []token) (parts [partCount][]token) {
	some := func(list []token) []token { return append([]token{}, list...) }
	rest := tokens
	if n := find(rest, func(i int) bool { return rest[i].isChar("#") }); n < len(rest) {
		parts[partHash], rest = some(rest[n+1:]), rest[:n]
	}
	if n := find(rest, func(i int) bool { return startsSearch(rest, i) }); n < len(rest) {
		parts[partSearch], rest = some(rest[n+1:]), rest[:n]
	}
	colon := find(rest, func(i int) bool { return rest[i].isChar(":") })
	if colon == len(rest) {
		if len(rest) > 0 {
			parts[partPathname] = some(rest)
		}
		return parts
	}
	parts[partProtocol] = some(rest[:colon])
	rest = rest[colon+1:]
	if len(rest) < 2 || !rest[0].isChar("/") || !rest[1].isChar("/") {
		parts[partPathname] = some(rest)
		return parts
	}
	rest = rest[2:]
	slash := find(rest, func(i int) bool { return rest[i].isChar("/") })
	authority := rest[:slash]
	if slash < len(rest) {
		parts[partPathname] = some(rest[slash:])
	} else if parts[partSearch] != nil || parts[partHash] != nil {
		parts[partPathname] = []token{{tokenChar, "/"}}
	}
	if at := find(authority, func(i int) bool { return authority[i].isChar("@") }); at < len(authority) {
		user := authority[:at]
		authority = authority[at+1:]
		if n := find(user, func(i int) bool { return user[i].isChar(":") }); n < len(user) {
			parts[partPassword], user = some(user[n+1:]), user[:n]
		}
		parts[partUsername] = some(user)
	}
	inBrackets := false
	port := find(authority, func(i int) bool {
		inBrackets = (inBrackets || authority[i].isChar("[")) && !authority[i].isChar("]")
		return !inBrackets && authority[i].isChar(":")
	})
	if port < len(authority) {
		parts[partPort], authority = some(authority[port+1:]), authority[:port]
	}
	parts[partHostname] = some(authority)
	return parts
}

// compilePart makes the expression of one part.
func compilePart(part int, tokens []token) (p partPattern, source string, err error) {
	c := partCompiler{part: part, tokens: tokens, names: map[string]bool{}}
	switch part {
	case partHostname:
		c.delimiter = "."
	case partPathname:
		c.delimiter, c.prefix = "/", "/"
	}
	if err := c.run(); err != nil {
		return p, "", err
	}
	source = c.out.String()
	if !c.special {
		p.literal = c.literal.String()
		return p, source, nil
	}
	if len(source) > maxPatternCost {
		return p, "", errors.New("it is too complicated")
	}
	p.re, err = regexp.Compile(`(?s)\A(?:` + source + `)\z`)
	if err != nil {
		return p, "", fmt.Errorf("%w: %w", errURLPattern, err)
	}
	return p, source, nil
}

// partCompiler walks the tokens of a part.
type partCompiler struct {
	part              int
	tokens            []token
	delimiter, prefix string
	names             map[string]bool
	special           bool // there is more than literals
	out, literal      strings.Builder
}

func (c *partCompiler) peek(kind byte) (string, bool) {
	if len(c.tokens) > 0 && c.tokens[0].kind == kind {
		return c.tokens[0].value, true
	}
	return "", false
}

func (c *partCompiler) take(kind byte) (string, bool) {
	value, ok := c.peek(kind)
	if ok {
		c.tokens = c.tokens[1:]
	}
	return value, ok
}

func (c *partCompiler) text(text string) {
	text = canonical(c.part, text)
	c.literal.WriteString(text)
	c.out.WriteString(regexp.QuoteMeta(text))
}

// canonical spells literals as topics are spelled when they have been taken apart.
func canonical(part int, text string) string {
	switch part {
	case partProtocol, partHostname:
		return strings.ToLower(text)
	case partPathname:
		if text == "%" || text == "/" {
			return text
		}
		return strings.ReplaceAll((&url.URL{Path: "/" + text}).EscapedPath()[1:], "%25", "%")
	}
	return text
}

func (c *partCompiler) run() error {
	for len(c.tokens) > 0 {
		// The delimiter before a name belongs to it: /:id? matches without the slash, too.
		if len(c.tokens) > 1 && c.tokens[0].kind == tokenChar && c.tokens[0].value == c.prefix {
			if k := c.tokens[1].kind; k == tokenName || k == tokenRegexp || k == tokenAny {
				c.tokens = c.tokens[1:]
				if err := c.group(c.prefix, ""); err != nil {
					return err
				}
				continue
			}
		}
		switch c.tokens[0].kind {
		case tokenChar, tokenEscaped:
			c.text(c.tokens[0].value)
			c.tokens = c.tokens[1:]
		case tokenName, tokenRegexp, tokenAny:
			if err := c.group("", ""); err != nil {
				return err
			}
		case tokenOpen:
			c.tokens = c.tokens[1:]
			if err := c.braces(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %q is not expected", errURLPattern, c.tokens[0].value)
		}
	}
	return nil
}

// value takes a name with its expression, an expression or a wildcard. It is empty when there is none.
func (c *partCompiler) value() (string, error) {
	name, named := c.take(tokenName)
	if named {
		if c.names[name] {
			return "", fmt.Errorf("%w: the name %q is there twice", errURLPattern, name)
		}
		c.names[name] = true
	}
	if expression, ok := c.take(tokenRegexp); ok {
		return `(?:` + expression + `)`, nil
	}
	if named {
		if c.delimiter == "" {
			return `.+?`, nil
		}
		return `[^` + regexp.QuoteMeta(c.delimiter) + `]+?`, nil
	}
	if _, ok := c.take(tokenAny); ok {
		return `.*`, nil
	}
	return "", nil
}

func (c *partCompiler) modifier() string {
	if m, ok := c.take(tokenMod); ok {
		return m
	}
	m, _ := c.take(tokenAny)
	return m
}

// group takes a value and its modifier, and writes both.
func (c *partCompiler) group(prefix, suffix string) error {
	value, err := c.value()
	if err != nil {
		return err
	}
	c.write(canonical(c.part, prefix), value, canonical(c.part, suffix), c.modifier())
	return nil
}

// braces takes what follows an open brace: text, a value, text, and the modifier behind the closing one.
func (c *partCompiler) braces() error {
	prefix := c.plain()
	value, err := c.value()
	if err != nil {
		return err
	}
	suffix := c.plain()
	if _, ok := c.take(tokenClose); !ok {
		return fmt.Errorf("%w: a group is not closed, or has more than one name", errURLPattern)
	}
	c.write(canonical(c.part, prefix), value, canonical(c.part, suffix), c.modifier())
	return nil
}

func (c *partCompiler) plain() string {
	var b strings.Builder
	for len(c.tokens) > 0 && (c.tokens[0].kind == tokenChar || c.tokens[0].kind == tokenEscaped) {
		b.WriteString(c.tokens[0].value)
		c.tokens = c.tokens[1:]
	}
	return b.String()
}

func (c *partCompiler) write(prefix, value, suffix, modifier string) {
	if value == "" && modifier == "" {
		c.literal.WriteString(prefix + suffix)
		c.out.WriteString(regexp.QuoteMeta(prefix + suffix))
		return
	}
	c.special = true
	prefix, suffix = regexp.QuoteMeta(prefix), regexp.QuoteMeta(suffix)
	if modifier != "+" && modifier != "*" || prefix+suffix == "" || value == "" {
		c.out.WriteString(`(?:` + prefix + value + suffix + `)` + modifier)
		return
	}
	c.out.WriteString(`(?:` + prefix + value + `(?:` + suffix + prefix + value + `)*` + suffix + `)`)
	if modifier == "*" {
		c.out.WriteByte('?')
	}
}
