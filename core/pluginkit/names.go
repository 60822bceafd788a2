package pluginkit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// otherNames are what people call languages and kinds.
var otherNames = map[string]string{
	"javascript": "js", "typescript": "assemblyscript", "ts": "assemblyscript", "as": "assemblyscript", "golang": "go", "rs": "rust", "ziglang": "zig",
	"kv-driver": "kv", "driver": "kv", "websocket": "ws", "websockets": "ws", "timer": "cron",
}

// knownAs is the one of names that is meant by word, or word itself.
func knownAs(word string, names []string) string {
	lower := strings.ToLower(word)
	if slices.Contains(names, lower) {
		return lower
	}
	if other := otherNames[lower]; slices.Contains(names, other) {
		return other
	}
	return word
}

// languageOf is the language that --lang means.
func languageOf(word string) (string, error) {
	language := knownAs(word, Languages())
	all := "--lang is one of " + strings.Join(Languages(), ", ")
	switch {
	case slices.Contains(Languages(), language):
		return language, nil
	case word == "":
		return "", fmt.Errorf("in what language? %s", all)
	case strings.EqualFold(word, "tinygo"):
		return "", errors.New("TinyGo builds what --lang go writes: EDGE_TINYGO=tinygo edge plugin build")
	case slices.Contains([]string{"c++", "cpp", "cxx"}, strings.ToLower(word)):
		return "", fmt.Errorf("there is no SDK for %q: --lang c is the nearest", word)
	}
	return "", fmt.Errorf("there is no SDK for %q%s: %s", word, meant(word, Languages()), all)
}

// kindOf is the kind that --kind means.
func kindOf(word string) (string, error) {
	kind := knownAs(word, Kinds())
	if !slices.Contains(Kinds(), kind) {
		return "", fmt.Errorf("%q is no kind of plugin%s: --kind is one of %s", word, meant(word, Kinds()), strings.Join(Kinds(), ", "))
	}
	return kind, nil
}

// meant is `, did you mean "x"?` for the name that shares most with the word: all but one letter in four, and one.
func meant(word string, names []string) string {
	word = strings.ToLower(word)
	best, most := "", 0
	for _, name := range names {
		if n := common(word, name); n > most && max(len(word), len(name))-n <= 1+len(name)/4 {
			best, most = name, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// common is the length of the longest row of letters that a and b have in the same order.
func common(a, b string) int {
	a = a[:min(len(a), 64)]
	row := make([]int, len(b)+1)
	for i := range len(a) {
		diagonal := 0
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}

// checkName says what is wrong with the name of a plugin, and gives one like it that would do.
func checkName(name, language string) error {
	switch {
	case !validName.MatchString(name):
		return fmt.Errorf("%q cannot be the name of a plugin: lower-case letters, digits and '-', at most 40, a letter first%s", name, validLike(name))
	case language == "rust" && name == "edge-guest":
		return fmt.Errorf("a plugin in Rust cannot be called %q, as the crate of the SDK is: choose another name", name)
	}
	return nil
}

// validLike is "; such as x" with what is left of name.
func validLike(name string) string {
	like := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case strings.ContainsRune("-_ .", r):
			return '-'
		}
		return -1
	}, name)
	like = strings.TrimRight(strings.TrimLeft(like, "-0123456789"), "-")
	if len(like) < 3 || len(like) > 40 {
		like = "my-plugin"
	}
	return "; such as " + like
}

// makeFolder makes the folder of a new plugin, which must not be there.
func makeFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { // plugins-wasm/ of a server that has had none yet
		return fmt.Errorf("make the folder of the plugin: %w", err)
	}
	err := os.Mkdir(dir, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is there already, and nothing in it was changed: choose another name, or remove it", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("make the folder of the plugin: %w: write to a folder of your own, or change who owns %s", err, filepath.Dir(dir))
	case err != nil:
		return fmt.Errorf("make the folder of the plugin: %w", err)
	}
	return nil
}
