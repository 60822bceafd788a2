package urlpath

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for p, want := range map[string]string{
		"/":                     "/",
		"":                      "/",
		"/a/b":                  "/a/b",
		"/a/b/":                 "/a/b/",
		"//admin":               "/admin",
		"/public/../admin":      "/admin",
		"/public/./x":           "/public/x",
		"/a//b///c/":            "/a/b/c/",
		"/.well-known/x":        "/.well-known/x",
		"/a/b/..":               "/a/",
		"/a/.":                  "/a/",
		"/...":                  "/...",
		"/a/..":                 "/",
		"relative/../somewhere": "/somewhere",
	} {
		if got, ok := Clean(p); !ok || got != want {
			t.Errorf("Clean(%q) = %q, %v; want %q", p, got, ok, want)
		}
	}
	for _, p := range []string{"/..", "/../etc/passwd", "/a/../../b", "//.."} {
		if got, ok := Clean(p); ok {
			t.Errorf("Clean(%q) = %q, want a refusal", p, got)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, p := range []string{"/", "//a", "/a/../b", "/..", "/.", "/a/./b/", "/%2e%2e/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		got, ok := Clean(p)
		if !ok {
			return
		}
		if !strings.HasPrefix(got, "/") || strings.Contains(got, "//") {
			t.Errorf("Clean(%q) = %q", p, got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("Clean(%q) = %q keeps a dot segment", p, got)
			}
		}
	})
}
