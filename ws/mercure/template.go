package mercure

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// A URI template (RFC 6570, all four levels) is matched by the regular expression of everything that it can expand to. Go's regular
// expressions take time in proportion to their size and that of the topic, so what has to be bounded is the size.
const (
	maxExpressionVars     = 8   // in one expression: their subsets take the square of it
	maxTemplatePrefixes   = 100 // sum of {var:N}
	prefixCost            = 40  // of one character of them
	maxPatternCost        = 4 << 10
	unreservedClass       = `A-Za-z0-9\-._~`
	reservedClass         = `:/?#\[\]@!$&'()*+,;=`
	percentEncoded        = `%[0-9A-Fa-f]{2}`
	templateNameFirst     = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_%"
	templateNameCharacter = templateNameFirst + "."
)

var errTemplate = errors.New("this is not a URI template")

// operator is a line of the table in RFC 6570, appendix A.
type operator struct {
	first, sep string
	named      bool
	ifEmpty    string
	reserved   bool
}

func operatorOf(expression string) (operator, string) {
	rest := expression
	if rest != "" {
		rest = rest[1:]
	}
	switch {
	case strings.HasPrefix(expression, "+"):
		return operator{sep: ",", reserved: true}, rest
	case strings.HasPrefix(expression, "#"):
		return operator{first: "#", sep: ",", reserved: true}, rest
	case strings.HasPrefix(expression, "."):
		return operator{first: ".", sep: "."}, rest
	case strings.HasPrefix(expression, "/"):
		return operator{first: "/", sep: "/"}, rest
	case strings.HasPrefix(expression, ";"):
		return operator{first: ";", sep: ";", named: true}, rest
	case strings.HasPrefix(expression, "?"):
		return operator{first: "?", sep: "&", named: true, ifEmpty: "="}, rest
	case strings.HasPrefix(expression, "&"):
		return operator{first: "&", sep: "&", named: true, ifEmpty: "="}, rest
	}
	return operator{sep: ","}, expression
}

// compileTemplate returns the expression, what every match begins with, and the size of it all.
func compileTemplate(text string) (re *regexp.Regexp, prefix string, cost int, err error) {
	var b strings.Builder
	b.WriteString(`\A`)
	prefixes := 0
	for first := true; text != ""; first = false {
		literal, rest, found := strings.Cut(text, "{")
		if strings.Contains(literal, "}") {
			return nil, "", 0, errTemplate
		}
		if first {
			prefix = literal
		}
		b.WriteString(regexp.QuoteMeta(literal))
		if !found {
			break
		}
		expression, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, "", 0, errTemplate
		}
		if err := writeExpression(&b, expression, &prefixes); err != nil {
			return nil, "", 0, err
		}
		text = after
	}
	b.WriteString(`\z`)
	if cost = b.Len() + prefixes*prefixCost; cost > maxPatternCost {
		return nil, "", 0, errTemplate
	}
	re, err = regexp.Compile(b.String())
	return re, prefix, cost, err
}

// writeExpression writes what the part between braces can expand to: variables without a value are left out, with their separator.
func writeExpression(b *strings.Builder, expression string, prefixes *int) error {
	op, list := operatorOf(expression)
	specs := strings.Split(list, ",")
	if len(specs) > maxExpressionVars {
		return errTemplate
	}
	items := make([]string, len(specs))
	for i, spec := range specs {
		var err error
		if items[i], err = op.item(spec, prefixes); err != nil {
			return err
		}
	}
	sep := regexp.QuoteMeta(op.sep)
	b.WriteString(`(?:` + regexp.QuoteMeta(op.first) + `(?:`)
	for i, item := range items {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(item)
		for _, next := range items[i+1:] {
			b.WriteString(`(?:` + sep + next + `)?`)
		}
	}
	b.WriteString(`))?`)
	return nil
}

// item is what one variable can be.
func (op operator) item(spec string, prefixes *int) (string, error) {
	name, explode := strings.CutSuffix(spec, "*")
	name, length, cut := strings.Cut(name, ":")
	if !validVariable(name) || explode && cut {
		return "", errTemplate
	}
	class := unreservedClass
	if op.reserved {
		class += reservedClass
	}
	var value string
	switch {
	case cut:
		n, err := strconv.Atoi(length)
		if err != nil || n < 1 || n > 9999 || length[0] == '+' {
			return "", errTemplate
		}
		if *prefixes += n; *prefixes > maxTemplatePrefixes {
			return "", errTemplate
		}
		// A character outside of ASCII is up to four octets.
		value = `(?:[` + class + `]|(?:` + percentEncoded + `){1,4}){0,` + strconv.Itoa(n) + `}`
	case explode:
		value = `(?:[` + class + `=` + regexp.QuoteMeta(op.sep) + `]|` + percentEncoded + `)*` // of a list, or of names and values
		return value, nil
	default:
		value = `(?:[` + class + `,]|` + percentEncoded + `)*`
	}
	switch {
	case !op.named:
		return value, nil
	case op.ifEmpty == "":
		return regexp.QuoteMeta(name) + `(?:=` + value + `)?`, nil
	}
	return regexp.QuoteMeta(name) + `=` + value, nil
}

func validVariable(name string) bool {
	if name == "" || !strings.Contains(templateNameFirst, name[:1]) {
		return false
	}
	for i := range len(name) {
		if !strings.Contains(templateNameCharacter, name[i:i+1]) {
			return false
		}
	}
	return true
}
