package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzControl: whatever stands around it, no-store counts where it is a directive, and lines are as one list.
func FuzzControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60", `private="a, b", s-maxage=1`, `x="`, `x="\"", no-cache`, "max-stale", "max-age==1,,=", `"`, `a="b"c`, "max-age=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := parseControl([]string{text})
		for name, n := range map[string]int64{
			"max-age": d.maxAge, "s-maxage": d.sMaxAge, "min-fresh": d.minFresh, "max-stale": d.maxStale, "stale-if-error": d.staleIfError,
			"stale-while-revalidate": d.staleWhileRevalidate,
		} {
			if n < absent || n > longest {
				t.Fatalf("%s is %d", name, n)
			}
		}
		if also := parseControl([]string{text, "no-store"}); !also.noStore {
			t.Fatal("a line of its own is not seen")
		}
		if also := parseControl([]string{"no-store," + text}); !also.noStore {
			t.Fatal("the first of a list is not seen")
		}
		if !d.broken {
			if joined := parseControl([]string{text + ", private"}); !joined.private {
				t.Fatal("the last of a list is not seen")
			}
		}
		if d.broken && parseControl([]string{text}) != d {
			t.Fatal("twice the same, and not the same")
		}
	})
}

// FuzzVary: names are sorted, headers, each there once, and as many as bounded.
func FuzzVary(f *testing.F) {
	for _, s := range []string{"", "*", "accept, accept", "a,,b", " Accept-Encoding ,\tcookie", "a b", "ä"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		names, ok := varyNames([]string{text})
		if !ok {
			return
		}
		if len(names) > maxVary || !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Fatalf("%q", names)
		}
		h := http.Header{}
		for _, name := range names {
			if name == "*" || strings.ContainsAny(name, " \n,") {
				t.Fatalf("%q is no header", name)
			}
			before := variantOf(h, names)
			h[name] = []string{text}
			if variantOf(h, names) == before {
				t.Fatalf("%s makes no difference", name)
			}
		}
	})
}

// FuzzVariant: requests that differ in a header, by more than how it is written, are not taken for each other.
func FuzzVariant(f *testing.F) {
	f.Add("a", "b", "x", "")
	f.Add("a,b", "", "a", "b")
	f.Fuzz(func(t *testing.T, a1, a2, b1, b2 string) {
		names := []string{"X-One", "X-Two"}
		a := variantOf(http.Header{"X-One": {a1}, "X-Two": {a2}}, names)
		b := variantOf(http.Header{"X-One": {b1}, "X-Two": {b2}}, names)
		same := normal(a1) == normal(b1) && normal(a2) == normal(b2)
		if (a == b) != same {
			t.Fatalf("%q %q and %q %q: the same: %v, want %v", a1, a2, b1, b2, a == b, same)
		}
	})
}

// normal is a header without space around its commas.
func normal(text string) string {
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = trim(parts[i])
	}
	return strings.Join(parts, ",")
}

// FuzzEntry: what comes from the store is an entry or is refused; an entry is read as it was written.
func FuzzEntry(f *testing.F) {
	e := entry{status: 200, epoch: 7, received: 1}
	e.encode("key", []string{"Accept", "X-A"}, http.Header{"Etag": {`"1"`}, "Vary": {"accept", "x-a"}}, []byte("body"))
	f.Add(e.encoded)
	m := newMarker(7, "key", []string{"Accept"}, newSalt())
	f.Add(m.encoded)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, ok := decode(b)
		if !ok {
			return
		}
		h := e.header()
		_, _, _ = e.get("Etag"), e.names(), e.age(time.Now())
		_ = e.matches(h)
		copied := e
		copied.encode(string(e.name), e.names(), h, e.body)
		if copied.status != e.status || copied.epoch != e.epoch || string(copied.body) != string(e.body) || string(copied.name) != string(e.name) {
			t.Fatalf("%+v became %+v", e, copied)
		}
	})
}

// FuzzState: no state makes a purge unseen.
func FuzzState(f *testing.F) {
	f.Add(newState(), uint64(5))
	f.Fuzz(func(t *testing.T, b []byte, m uint64) {
		before := parseState(b)
		after := parseState(before.add([]uint64{m}, false))
		if after.epoch == 0 || !after.purgedSince(before, []uint64{m}) {
			t.Fatalf("%+v, %+v", before, after)
		}
		if everything := parseState(before.add(nil, true)); !everything.purgedSince(before, nil) {
			t.Fatalf("%+v, %+v", before, everything)
		}
	})
}

// FuzzTags: lists of tags are bounded, and each tag is one that can be purged.
func FuzzTags(f *testing.F) {
	f.Add("a, b", "c d")
	f.Fuzz(func(t *testing.T, a, b string) {
		list, ok := tags(http.Header{"Cache-Tag": {a}, "Surrogate-Key": {b}})
		if !ok {
			return
		}
		for _, tag := range list {
			if tag == "" || len(tag) > maxTag {
				t.Fatalf("%q", tag)
			}
		}
		if len(list) > maxTags {
			t.Fatal(len(list))
		}
	})
}

// FuzzLists: a tag is found in lists that have it.
func FuzzLists(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`)
	f.Fuzz(func(_ *testing.T, line, tag string) { lists([]string{line}, tag) })
}
