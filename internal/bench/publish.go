package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// section is the report of one scenario. Its key tells it from the other sections of the file.
type section struct{ key, text string }

// publish replaces the sections in a Markdown file, each between its own pair of markers, and leaves all other text alone.
// A section that the file does not have yet goes to its end.
func publish(path string, sections []section) error {
	document, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, s := range sections {
		if document, err = replaceSection(document, s); err != nil {
			return fmt.Errorf("%s: %w; the file was not changed", path, err)
		}
	}
	return writeFile(path, document)
}

func replaceSection(document []byte, s section) ([]byte, error) {
	begin := []byte("<!-- begin " + s.key + ", written by make bench -->\n")
	end := []byte("<!-- end " + s.key + " -->\n")
	block := bytes.Join([][]byte{begin, []byte(s.text), end}, []byte("\n"))

	begins, ends := bytes.Count(document, begin), bytes.Count(document, end)
	switch at := bytes.Index(document, begin); {
	case begins == 0 && ends == 0:
		return appendBlock(document, block), nil
	case begins != 1 || ends != 1 || bytes.Index(document, end) < at:
		return nil, fmt.Errorf("the markers of %q do not form one pair of lines: %d begin, %d end", s.key, begins, ends)
	default:
		after := bytes.Index(document, end) + len(end)
		return bytes.Join([][]byte{document[:at], block, document[after:]}, nil), nil
	}
}

func appendBlock(document, block []byte) []byte {
	text := bytes.TrimRight(document, "\n")
	if len(text) == 0 {
		return block
	}
	return bytes.Join([][]byte{text, block}, []byte("\n\n"))
}

// writeFile replaces a file in one step: a reader sees the old results or the new ones.
func writeFile(path string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // fails after the rename, as it should
	_, err = temp.Write(content)
	if err := errors.Join(err, temp.Chmod(0o644), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
