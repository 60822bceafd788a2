package rrcompat

import (
	"os"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces $VAR, ${VAR} and ${VAR:-default}. What is not set and has no default is empty, as in RoadRunner; where that has
// a text with one default lose all variables without, Edge does not follow.
func expand(text string, lookup func(string) (string, bool)) string {
	if !strings.Contains(text, "$") {
		return text
	}
	return os.Expand(text, func(inside string) string {
		name, fallback, _ := strings.Cut(inside, ":-")
		if v, _ := lookup(name); v != "" {
			return v
		}
		return fallback
	})
}

// reference is text with its variables in the form of edge.yaml, which leaves them to the server that reads it.
func reference(text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	return os.Expand(text, func(inside string) string {
		name, fallback, _ := strings.Cut(inside, ":-")
		if !variableName.MatchString(name) {
			return fallback
		}
		return "${" + name + ":-" + fallback + "}" // with an empty default: in edge.yaml a variable that is not set is a mistake
	})
}

// escape keeps edge.yaml from seeing a variable in a text that has none.
func escape(text string) string { return strings.ReplaceAll(text, "${", "$${") }
