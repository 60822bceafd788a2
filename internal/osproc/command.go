package osproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Command is a program and its arguments. In configuration it is a list, or a string that is split on spaces.
type Command []string

// UnmarshalText splits a command written as one string.
func (c *Command) UnmarshalText(text []byte) error {
	*c = strings.Fields(string(text))
	return nil
}

func (c Command) String() string { return strings.Join(c, " ") }

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
