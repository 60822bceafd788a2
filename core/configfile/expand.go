package configfile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${NAME} and ${NAME:-default} in text by the values of variables and returns those that were used.
// As in a shell, the default also stands for a variable that is empty. $${ is ${.
func expand(text string, lookup func(string) (string, bool)) (string, []secret, error) {
	var out strings.Builder
	var used []secret
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			out.WriteString(text)
			return out.String(), used, nil
		}
		if i > 0 && text[i-1] == '$' {
			out.WriteString(text[:i-1])
			out.WriteString("${")
			text = text[i+2:]
			continue
		}
		out.WriteString(text[:i])
		inside, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed {
			return "", nil, errors.New("${ without }: write ${NAME}, or $${ for the characters themselves")
		}
		text = rest
		name, fallback, hasFallback := strings.Cut(inside, ":-")
		if !variableName.MatchString(name) {
			return "", nil, fmt.Errorf("${%s} is not a variable: write ${NAME} or ${NAME:-default}, or $${ for the characters themselves", shorten(inside))
		}
		value, set := lookup(name)
		switch {
		case value != "":
			out.WriteString(value)
		case hasFallback:
			out.WriteString(fallback)
		case !set:
			return "", nil, fmt.Errorf("the variable %[1]s is not set: set it, or write ${%[1]s:-default}", name)
		}
		used = append(used, secret{variable: name, value: value})
	}
}
