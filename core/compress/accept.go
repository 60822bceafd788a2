package compress

import (
	"strconv"
	"strings"
)

// Choose returns the encoding for a client that sent these Accept-Encoding lines (RFC 9110, section 12.5.3), or "" for none. Of those
// that it likes equally, the first of offers wins. A list that says nothing about an encoding refuses it.
func Choose(accept []string, offers []string) string {
	best, bestQ, plainQ := "", 0, -1
	for _, offer := range offers {
		q, said := quality(accept, offer)
		if !said {
			q, _ = quality(accept, "*")
		}
		if q > bestQ {
			best, bestQ = offer, q
		}
	}
	if q, said := quality(accept, "identity"); said {
		plainQ = q
	}
	if plainQ > bestQ {
		return "" // it asks for the plain text
	}
	return best
}

// quality is how much the client likes an encoding, in thousandths, and whether it says so.
func quality(accept []string, encoding string) (q int, said bool) {
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.TrimSpace(name)
			if !strings.EqualFold(name, encoding) && !(encoding == "gzip" && strings.EqualFold(name, "x-gzip")) {
				continue
			}
			q, said = max(q, weight(params)), true
		}
	}
	return q, said
}

// weight reads q=0.5 as 500. What cannot be read is 0: it was meant to limit.
func weight(params string) int {
	for param := range strings.SplitSeq(params, ";") {
		name, value, found := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if !found || err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return int(q * 1000)
	}
	return 1000
}
