package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPublishKeepsTheProse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	write := func(sections ...section) string {
		t.Helper()
		if err := publish(path, sections); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}

	first := write(section{"hello c=16", "old hello\n"}, section{"json c=16", "old json\n"})
	want := "<!-- begin hello c=16, written by make bench -->\n\nold hello\n\n<!-- end hello c=16 -->\n\n" +
		"<!-- begin json c=16, written by make bench -->\n\nold json\n\n<!-- end json c=16 -->\n"
	if first != want {
		t.Fatalf("got\n%s\nwant\n%s", first, want)
	}

	prose := "# Benchmarks\n\nBefore.\n\n" + first + "\nAfter.\n"
	if err := os.WriteFile(path, []byte(prose), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := write(section{"hello c=16", "new hello\n"}), strings.Replace(prose, "old hello", "new hello", 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := write(section{"hello c=64", "more\n"}); !strings.HasPrefix(got, "# Benchmarks\n\nBefore.\n\n") ||
		!strings.HasSuffix(got, "\nAfter.\n\n<!-- begin hello c=64, written by make bench -->\n\nmore\n\n<!-- end hello c=64 -->\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestPublishRefusesBrokenMarkers(t *testing.T) {
	t.Parallel()
	begin, end := "<!-- begin hello c=16, written by make bench -->\n", "<!-- end hello c=16 -->\n"
	for _, document := range []string{begin, end, end + begin, begin + end + begin + end, begin + begin + end} {
		path := filepath.Join(t.TempDir(), "benchmarks.md")
		if err := os.WriteFile(path, []byte(document), 0o644); err != nil {
			t.Fatal(err)
		}
		err := publish(path, []section{{"json c=16", "fine\n"}, {"hello c=16", "text\n"}})
		if err == nil || !strings.Contains(err.Error(), "do not form one pair") {
			t.Errorf("%q: got %v", document, err)
		}
		if after, _ := os.ReadFile(path); string(after) != document {
			t.Errorf("%q became %q", document, after)
		}
	}
}

func FuzzReplaceSection(f *testing.F) {
	f.Add([]byte("before\n<!-- begin k, written by make bench -->\nx\n<!-- end k -->\nafter"), "text\n")
	f.Add([]byte(""), "")
	f.Fuzz(func(t *testing.T, document []byte, text string) {
		if strings.Contains(text, "<!--") || bytes.HasSuffix(document, []byte("\r")) {
			return
		}
		s := section{"k", text}
		once, err := replaceSection(document, s)
		if err != nil {
			return
		}
		twice, err := replaceSection(once, s)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("replacing again gave %q, %v; want %q", twice, err, once)
		}
	})
}
