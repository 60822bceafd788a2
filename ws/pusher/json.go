package pusher

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// maxDepth bounds how deeply JSON of clients may be nested.
const maxDepth = 64

var (
	errJSON  = errors.New("it is not JSON")
	errDepth = errors.New("it is nested too deeply")
)

// A scanner walks over JSON once, without building anything. It is as strict as RFC 8259.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// take steps over c, if it is next.
func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// value steps over the next value.
func (s *scanner) value(depth int) error {
	s.space()
	if s.i >= len(s.b) {
		return errJSON
	}
	switch c := s.b[s.i]; c {
	case '{':
		return s.object(depth, func([]byte) error { return s.value(depth - 1) })
	case '[':
		return s.array(depth, func() error { return s.value(depth - 1) })
	case '"':
		_, err := s.text()
		return err
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		return s.number()
	}
}

// object calls member for each member with its key as it is written, quotes included; member steps over the value.
func (s *scanner) object(depth int, member func(key []byte) error) error {
	return s.list('{', '}', depth, func() error {
		s.space()
		key, err := s.text()
		if err != nil {
			return err
		}
		if s.space(); !s.take(':') {
			return errJSON
		}
		return member(key)
	})
}

// array calls element for each element, which it steps over.
func (s *scanner) array(depth int, element func() error) error {
	return s.list('[', ']', depth, element)
}

func (s *scanner) list(open, shut byte, depth int, item func() error) error {
	if s.space(); !s.take(open) {
		return errJSON
	}
	if depth <= 0 {
		return errDepth
	}
	if s.space(); s.take(shut) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		s.space()
		if s.take(shut) {
			return nil
		}
		if !s.take(',') {
			return errJSON
		}
	}
}

// text steps over a string and returns it as it is written, quotes included.
func (s *scanner) text() ([]byte, error) {
	start := s.i
	if !s.take('"') {
		return nil, errJSON
	}
	for s.i < len(s.b) {
		c := s.b[s.i]
		s.i++
		switch {
		case c == '"':
			return s.b[start:s.i], nil
		case c < ' ':
			return nil, errJSON
		case c == '\\':
			if !s.escape() {
				return nil, errJSON
			}
		}
	}
	return nil, errJSON
}

func (s *scanner) escape() bool {
	if s.i >= len(s.b) {
		return false
	}
	c := s.b[s.i]
	s.i++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if s.i >= len(s.b) || !hexDigit(s.b[s.i]) {
				return false
			}
			s.i++
		}
		return true
	}
	return false
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func (s *scanner) word(w string) error {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return errJSON
	}
	s.i += len(w)
	return nil
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return errJSON
	}
	if s.take('.') && !s.digits() {
		return errJSON
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return errJSON
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// end reports whether nothing but space is left.
func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// raw steps over the next value and returns it as it is written.
func (s *scanner) raw(depth int) ([]byte, error) {
	s.space()
	start := s.i
	err := s.value(depth)
	return s.b[start:s.i], err
}

// unquote is the text of a string that a scanner returned. Without escapes it costs one allocation.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' {
			var text string
			if json.Unmarshal(quoted, &text) != nil {
				return ""
			}
			return text
		}
	}
	return string(inner)
}

const hexDigits = "0123456789abcdef"

// appendText appends text as a JSON string. What is not UTF-8 becomes U+FFFD, since it goes into text frames.
func appendText[T string | []byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= utf8.RuneSelf {
			r, n := decodeRune(text[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, text[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, text[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, text[start:]...), '"')
}

func decodeRune[T string | []byte](text T) (rune, int) {
	if len(text) > utf8.UTFMax {
		text = text[:utf8.UTFMax]
	}
	return utf8.DecodeRuneInString(string(text))
}
