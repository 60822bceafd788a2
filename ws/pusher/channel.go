package pusher

import "strings"

// kind is what the name of a channel says about it. Prefixes combine: private-encrypted-cache-.
type kind uint8

const (
	kindPrivate   kind = 1 << iota // a subscription needs the back end's signature
	kindPresence                   // and says who it is; private, too
	kindEncrypted                  // what is sent is unreadable here; private, too
	kindCache                      // the last event is kept for who comes later
	kindUser                       // #server-to-user-ID: of one signed-in user
)

const (
	presencePrefix = "presence-"
	userPrefix     = "#server-to-user-"
)

func kindOf(channel string) kind {
	var k kind
	rest := channel
	cut := func(prefix string) bool {
		r, ok := strings.CutPrefix(rest, prefix)
		if ok {
			rest = r
		}
		return ok
	}
	switch {
	case strings.HasPrefix(channel, "#"):
		return kindUser
	case cut("private-"):
		k = kindPrivate
		if cut("encrypted-") {
			k |= kindEncrypted
		}
	case cut(presencePrefix):
		k = kindPrivate | kindPresence
	}
	if strings.HasPrefix(rest, "cache-") {
		k |= kindCache
	}
	return k
}

func (k kind) has(what kind) bool { return k&what != 0 }

// validChannel reports whether name may be the name of a channel, the limit of its length apart.
func validChannel(name string) bool {
	if user, ok := strings.CutPrefix(name, userPrefix); ok {
		return user != ""
	}
	if name == "" {
		return false
	}
	for i := range len(name) {
		if !channelByte(name[i]) {
			return false
		}
	}
	return true
}

func channelByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-_=@,.;", c) >= 0
}

// validSocketID reports whether id looks like one: digits, a dot, digits.
func validSocketID(id string) bool {
	a, b, ok := strings.Cut(id, ".")
	return ok && digits(a) && digits(b)
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != "" && len(s) <= 20
}
