package ws

import "unicode/utf8"

// textCheck validates UTF-8 as it comes, in pieces that may end anywhere.
type textCheck struct {
	tail [utf8.UTFMax]byte // the beginning of a character that goes on in the next piece
	n    int
}

// next reports whether what came so far can be the beginning of UTF-8.
func (t *textCheck) next(p []byte) bool {
	for t.n > 0 && len(p) > 0 {
		t.tail[t.n] = p[0]
		t.n++
		p = p[1:]
		if utf8.FullRune(t.tail[:t.n]) {
			if r, size := utf8.DecodeRune(t.tail[:t.n]); r == utf8.RuneError && size <= 1 {
				return false
			}
			t.n = 0
		}
	}
	if t.n > 0 {
		return true
	}
	if utf8.Valid(p) {
		return true
	}
	// All but an unfinished character at the end must be valid.
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		i := len(p) - back
		if !utf8.RuneStart(p[i]) {
			continue
		}
		if utf8.FullRune(p[i:]) || !utf8.Valid(p[:i]) {
			return false
		}
		t.n = copy(t.tail[:], p[i:])
		return true
	}
	return false
}

// complete reports whether the text does not end within a character.
func (t *textCheck) complete() bool { return t.n == 0 }
