package kv

import (
	"bytes"
	"errors"
)

var errFetch = errors.New("the argument of Fetch is how (0, 1 or 2), storage, NUL and keys with a NUL between them")

// maxPHPDepth is how deep the arrays of a value may be that PHP reads where it stands.
const maxPHPDepth = 8

// isPlainPHP reports whether v is what PHP's serialize() makes of null, a boolean, a number, a text, or an array of such, and nothing
// else. Only that may stand inside another array: a value that is not whole would make others of what comes after it, and objects and
// references count what came before.
func isPlainPHP(v []byte) bool {
	rest, ok := plainPHP(v, maxPHPDepth)
	return ok && len(rest) == 0
}

// plainPHP returns what follows the first value of b.
func plainPHP(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, false
	}
	if b[0] == 'N' {
		return b[2:], b[1] == ';'
	}
	if b[1] != ':' {
		return nil, false
	}
	kind, b := b[0], b[2:]
	switch kind {
	case 's':
		return phpText(b)
	case 'i':
		return phpInteger(b)
	case 'b':
		ok = len(b) >= 2 && (b[0] == '0' || b[0] == '1') && b[1] == ';'
		return b[min(2, len(b)):], ok
	case 'd':
		return phpFloat(b)
	case 'a':
		return phpArray(b, depth)
	}
	return nil, false
}

// phpCount reads digits up to an end: at most nine, so that they mean the same everywhere.
func phpCount(b []byte, end byte) (n int, rest []byte, ok bool) {
	for i := range min(len(b), 10) {
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			n = 10*n + int(c-'0')
		case c == end:
			return n, b[i+1:], i > 0
		default:
			return 0, nil, false
		}
	}
	return 0, nil, false
}

// phpText reads what follows s: up to the end.
func phpText(b []byte) (rest []byte, ok bool) {
	n, b, ok := phpCount(b, ':')
	if !ok || len(b) < n+3 || b[0] != '"' || b[n+1] != '"' || b[n+2] != ';' {
		return nil, false
	}
	return b[n+3:], true
}

func phpInteger(b []byte) (rest []byte, ok bool) {
	b = bytes.TrimPrefix(b, []byte{'-'})
	digits := phpDigits(b)
	if digits == 0 || digits > 18 || digits == len(b) || b[digits] != ';' {
		return nil, false
	}
	return b[digits+1:], true
}

// phpFloat reads what serialize() writes; infinity and what is no number are read elsewhere.
func phpFloat(b []byte) (rest []byte, ok bool) {
	b = bytes.TrimPrefix(b, []byte{'-'})
	whole := phpDigits(b)
	if whole == 0 {
		return nil, false
	}
	b = b[whole:]
	if len(b) > 0 && b[0] == '.' {
		digits := phpDigits(b[1:])
		if digits == 0 {
			return nil, false
		}
		b = b[1+digits:]
	}
	if len(b) > 0 && b[0] == 'E' {
		if b = b[1:]; len(b) > 0 && (b[0] == '-' || b[0] == '+') {
			b = b[1:]
		}
		digits := phpDigits(b)
		if digits == 0 {
			return nil, false
		}
		b = b[digits:]
	}
	if len(b) == 0 || b[0] != ';' {
		return nil, false
	}
	return b[1:], true
}

func phpDigits(b []byte) (n int) {
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

func phpArray(b []byte, depth int) (rest []byte, ok bool) {
	n, b, ok := phpCount(b, ':')
	if !ok || depth == 0 || len(b) == 0 || b[0] != '{' {
		return nil, false
	}
	b = b[1:]
	for range n {
		if len(b) < 2 || b[0] != 'i' && b[0] != 's' || b[1] != ':' {
			return nil, false
		}
		if b, ok = plainPHP(b, depth-1); !ok {
			return nil, false
		}
		if b, ok = plainPHP(b, depth-1); !ok {
			return nil, false
		}
	}
	if len(b) == 0 || b[0] != '}' {
		return nil, false
	}
	return b[1:], true
}
