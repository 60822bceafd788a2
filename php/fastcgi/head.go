package fastcgi

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrHead means that what a script sent before its body is no header of an answer.
var ErrHead = errors.New("not the header of an answer")

// HeadEnd finds the end of the header lines in b, the empty line included, or returns -1 when it is not there yet. Searching goes
// on at from, which should be what was searched before.
func HeadEnd(b []byte, from int) int {
	switch {
	case bytes.HasPrefix(b, []byte("\n")):
		return 1 // no line at all
	case bytes.HasPrefix(b, []byte("\r\n")):
		return 2
	}
	for i := max(from-3, 0); ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch {
		case i < len(b) && b[i] == '\n':
			return i + 1
		case i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n':
			return i + 2
		}
	}
}

// Head is the header of an answer. The fields are in the order in which the script sent them, and parts of what was parsed.
type Head struct {
	Status int
	Fields []Field
}

// Field is a header line.
type Field struct{ Name, Value []byte }

// maxFields bounds the header lines of an answer.
const maxFields = 1000

// Parse reads header lines up to an empty line. Status: sets the status; without it, Location: means 302. What names and values
// may consist of is for the caller to check.
func (h *Head) Parse(b []byte) error {
	h.Status, h.Fields = 0, h.Fields[:0]
	redirects := false
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if _, status, ok := bytes.Cut(line, []byte(" ")); ok && h.Status == 0 && bytes.HasPrefix(line, []byte("HTTP/1.")) {
			line = append([]byte("Status:"), status...) // cgi.rfc2616_headers
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 {
			return fmt.Errorf("%w: the line %q", ErrHead, cut(line))
		}
		value = bytes.Trim(value, " \t")
		if equalFold(name, "status") {
			status, ok := parseStatus(value)
			if !ok {
				return fmt.Errorf("%w: Status: %q", ErrHead, cut(value))
			}
			h.Status = status
			continue
		}
		if len(h.Fields) == maxFields {
			return fmt.Errorf("%w: more than %d lines", ErrHead, maxFields)
		}
		redirects = redirects || equalFold(name, "location")
		h.Fields = append(h.Fields, Field{name, value})
	}
	if h.Status == 0 {
		h.Status = 200
		if redirects {
			h.Status = 302
		}
	}
	return nil
}

// parseStatus reads "404 Not Found". An answer of PHP is never an informational one.
func parseStatus(value []byte) (int, bool) {
	if len(value) < 3 || len(value) > 3 && value[3] != ' ' {
		return 0, false
	}
	status := 0
	for _, c := range value[:3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		status = 10*status + int(c-'0')
	}
	return status, status >= 200 && status <= 599
}

func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

func cut(b []byte) []byte { return b[:min(len(b), 100)] }
