package configfile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problems is everything that is wrong with a configuration, sorted by line. Its text has one line for each.
type Problems struct {
	List []Problem
}

// Problem is one mistake and its place.
type Problem struct {
	File     string // as given to Load
	Line     int    // from 1; 0 when the key does not stand in the file
	Variable string // the variable of the environment that holds the value, instead of File and Line
	Key      string // such as http.routes[2].match
	Text     string // what is wrong and how to mend it
}

// Error is the text of all problems.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, problem := range p.List {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// String is "edge.yaml:12: http.listn: unknown key; …".
func (p Problem) String() string {
	var parts []string
	switch {
	case p.Variable != "":
		parts = append(parts, p.Variable)
	case p.Line > 0:
		parts = append(parts, p.File+":"+strconv.Itoa(p.Line))
	case p.File != "":
		parts = append(parts, p.File)
	}
	if p.Key != "" {
		parts = append(parts, shorten(p.Key))
	}
	return strings.Join(append(parts, p.Text), ": ")
}

// sorted puts the problems of the file first, by line; what has the same place keeps its order.
func sorted(list []Problem) *Problems {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Variable, b.Variable), cmp.Compare(a.Line, b.Line))
	})
	return &Problems{List: list}
}

// secret is a value that came from a variable of the environment. It is not printed.
type secret struct {
	key, variable, value string
}

func (s secret) String() string { return "${" + s.variable + "}" }

// minSecretBytes is the length from which a value is taken out of a text wherever it stands. Shorter ones, such as a port or a
// count, are taken out only between quotes: they would tear words apart, and no secret is that short.
const minSecretBytes = 4

// redact puts the names of variables in the place of their values.
func redact(text string, secrets []secret) string {
	for _, s := range secrets {
		if s.value == "" {
			continue
		}
		quoted := strconv.Quote(s.value)
		text = strings.ReplaceAll(text, quoted, s.String())
		if len(s.value) >= minSecretBytes {
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], s.String())
			text = strings.ReplaceAll(text, s.value, s.String())
		}
	}
	return text
}

// unknownKey says which key may have been meant. show is how a valid key is written where the mistake was made.
func unknownKey(key string, valid []string, show func(string) string) string {
	if near := nearest(key, valid); near != "" {
		return "unknown key; did you mean " + show(near) + "?"
	}
	if len(valid) == 0 {
		return "unknown key; there are no keys here"
	}
	shown := make([]string, len(valid))
	for i, v := range valid {
		shown[i] = show(v)
	}
	return "unknown key; valid keys are " + strings.Join(shown, ", ")
}

// nearest returns the word that key is a likely misspelling of, or "".
func nearest(key string, words []string) string {
	key = plainKey(key)
	if len(key) > 64 {
		return ""
	}
	best, bestDistance := "", max(1, (len(key)+2)/4)
	for _, word := range words {
		w := plainKey(word)
		d := editDistance(key, w)
		if min(len(key), len(w)) >= 3 && (strings.HasPrefix(w, key) || strings.HasPrefix(key, w)) {
			d = 1 // an abbreviation, or the word in full
		}
		if d < bestDistance || d == bestDistance && best == "" {
			best, bestDistance = word, d
		}
	}
	return best
}

// plainKey is a key without the differences that the environment cannot express.
func plainKey(key string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(key))
}

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b.
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}

// quote is a value of the file as a problem shows it: on one line and not too long.
func quote(text string) string { return strconv.Quote(shorten(text)) }

func shorten(text string) string {
	const most = 80
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}

// problemf adds a problem at a spot, once: an alias may lead to the same place many times.
func (r *reader) problemf(at spot, format string, args ...any) {
	p := Problem{Key: at.key, Text: fmt.Sprintf(format, args...)}
	if r.variable != "" {
		p.Variable = r.variable
	} else {
		p.File, p.Line = r.file.name, at.line
	}
	if !r.said[p] {
		r.said[p] = true
		r.problems = append(r.problems, p)
	}
}
