package rrcompat

import (
	"fmt"
	"strings"
)

// ParseDotenv reads NAME=value lines: blank lines and those that begin with # are left out, `export` before a name is allowed.
// In '…' everything is itself; in "…" \n, \" and \\ mean what they mean in PHP, and variables are expanded, as they are without
// quotes. lookup finds variables that the file does not have.
func ParseDotenv(name string, text []byte, lookup func(string) (string, bool)) ([][2]string, error) {
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s: is larger than %d KiB", name, maxFileBytes>>10)
	}
	var pairs [][2]string
	known := map[string]string{}
	find := func(name string) (string, bool) {
		if v, ok := lookup(name); ok {
			return v, true // the environment wins over the file
		}
		v, ok := known[name]
		return v, ok
	}
	for i, line := range strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, content, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if key = strings.TrimSpace(key); !found || !variableName.MatchString(key) {
			return nil, fmt.Errorf("%s:%d: write NAME=value", name, i+1)
		}
		value, err := dotenvValue(strings.TrimSpace(content), find)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", name, i+1, key, err)
		}
		known[key] = value
		pairs = append(pairs, [2]string{key, value})
	}
	return pairs, nil
}

var dotenvEscapes = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\"`, `"`, `\\`, `\`, `\$`, `$`)

func dotenvValue(text string, find func(string) (string, bool)) (string, error) {
	if text == "" {
		return "", nil
	}
	if quote := text[0]; quote == '\'' || quote == '"' {
		end := closingQuote(text[1:], quote)
		if end < 0 {
			return "", fmt.Errorf("the quote %c does not end on its line", quote)
		}
		inside := text[1 : 1+end]
		if quote == '\'' {
			return inside, nil
		}
		return dotenvEscapes.Replace(expand(inside, find)), nil
	}
	if before, _, found := strings.Cut(text, " #"); found {
		text = strings.TrimSpace(before)
	}
	return expand(text, find), nil
}

// closingQuote is where the quote ends; \" does not end a ".
func closingQuote(text string, quote byte) int {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote:
			return i
		}
	}
	return -1
}
