package osproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Command is a program and its arguments. In configuration it is a list, or a string that is split on spaces.
type Command []string

// UnmarshalText splits a command written as one string.
func (c *Command) UnmarshalText(text []byte) error {
	*c = strings.Fields(string(text))
	return nil
}

// String is the command for people to read, without secrets.
func (c Command) String() string { return strings.Join(c.Public(), " ") }

// Public is the command without what follows an option like --token.
func (c Command) Public() Command {
	words := slices.Clone(c)
	for i, word := range words {
		option, _, hasValue := strings.Cut(word, "=")
		switch {
		case !secretOption.MatchString(option):
		case hasValue:
			words[i] = option + "=[redacted]"
		case i+1 < len(words) && !strings.HasPrefix(words[i+1], "-"):
			words[i+1] = "[redacted]"
		}
	}
	return words
}

var secretOption = regexp.MustCompile(`(?i)^--?[\w.-]*(pass(word|phrase|wd)?|secret|token|credentials?|(api|access|private|app)[_-]?key)$`)

// FindProgram finds a program in PATH, or relative to the working directory when it is written as a path. hint says what
// to do when there is none.
func FindProgram(name, dir, hint string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		if _, err := os.Stat(name); err != nil {
			return "", fmt.Errorf("command: %w", err)
		}
		return name, nil
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("command: there is no program %q in PATH: %s or give its full path", name, hint)
	}
	if err != nil {
		return "", fmt.Errorf("command: %w", err)
	}
	return filepath.Abs(path)
}
