// Package urlpath resolves the path of a URL to the one form that rules are compared with.
package urlpath

import (
	"path"
	"strings"
)

// Clean resolves dot segments and double slashes as a browser does, and keeps a slash at the end. It reports false for a path
// that climbs above the root. A path without a leading slash gets one.
func Clean(p string) (string, bool) {
	if p == "" {
		return "/", true
	}
	if p[0] == '/' && !strings.Contains(p, "//") && !strings.Contains(p, "/.") {
		return p, true // the usual case, without a copy
	}
	depth := 0
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", false
			}
		default:
			depth++
		}
	}
	clean := path.Clean("/" + p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean, true
}
