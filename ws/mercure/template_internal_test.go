package mercure

import (
	"fmt"
	"strings"
	"testing"
)

func parse(t testing.TB, kind matchType, text string) *selector {
	t.Helper()
	s, err := testCache(t).parse(kind, text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func testCache(t testing.TB) *selectorCache {
	t.Helper()
	base, err := newHubURL("https://hub.example.com/.well-known/mercure")
	if err != nil {
		t.Fatal(err)
	}
	return &selectorCache{base: base}
}

// TestTemplates has expansions with the values of RFC 6570 (count one, two, three; hello Hello World!; keys semi ; dot . comma ,; …).
func TestTemplates(t *testing.T) {
	t.Parallel()
	for template, tt := range map[string]struct{ yes, no []string }{
		"{var}":                       {[]string{"value", "", "Hello%20World%21", "one,two", "{var}"}, []string{"a/b", "a b", "é", "a?b", "a%2"}},
		"https://example.com/{id}":    {[]string{"https://example.com/1", "https://example.com/", "https://example.com/a%2Fb"}, []string{"https://example.com/1/2", "http://example.com/1", "https://example.com", "xhttps://example.com/1", "https://example.com/1\n"}},
		"{+path}/here":                {[]string{"/foo/bar/here", "/here", "Hello%20World!/here"}, []string{"foo bar/here"}},
		"{#x,hello,y}":                {[]string{"#1024,Hello%20World!,768", "", "#1024"}, []string{"1024"}},
		"map?{x,y}":                   {[]string{"map?1024,768", "map?1024", "map?"}, nil},
		"X{.x,y}":                     {[]string{"X.1024.768", "X", "X.1024"}, []string{"X1024", "X/1"}},
		"{/var,x}/here":               {[]string{"/value/1024/here", "/here", "/value/here"}, []string{"value/here", "/a/b/c/here"}},
		"{;x,y,empty}":                {[]string{";x=1024;y=768;empty", ";y=768", ""}, []string{"x=1024", ";z=1"}},
		"{?x,y,empty}":                {[]string{"?x=1024&y=768&empty=", "?y=768", "", "?x=1"}, []string{"?y=1&x=2", "?x", "&x=1"}},
		"?fixed=yes{&x}":              {[]string{"?fixed=yes&x=1024", "?fixed=yes"}, []string{"?fixed=yes?x=1"}},
		"{var:3}":                     {[]string{"val", "va", "", "%C3%A9a"}, []string{"valu"}},
		"{+path:6}here":               {[]string{"/foo/bhere"}, []string{"/foo/barhere"}},
		"{list*}":                     {[]string{"red,green,blue", "semi=%3B,dot=.,comma=%2C"}, []string{"red/green"}},
		"{/list*}":                    {[]string{"/red/green/blue", "/semi=%3B/dot=."}, []string{"red"}},
		"{?list*}":                    {[]string{"?list=red&list=green", "?semi=%3B&dot=."}, []string{"list=red"}},
		"{a}{b}-{c}":                  {[]string{"x-y", "-"}, []string{"x"}},
		"no template {":               {[]string{"no template {"}, []string{"no template "}},
		"}{":                          {[]string{"}{"}, nil},
		"{}":                          {[]string{"{}"}, []string{""}},
		"{a b}":                       {[]string{"{a b}"}, []string{"x"}},
		"{=a}":                        {[]string{"{=a}"}, []string{"x"}},
		"{a:0}":                       {[]string{"{a:0}"}, []string{"x"}},
		"{a:10000}":                   {[]string{"{a:10000}"}, []string{"x"}},
		"{a*:3}":                      {[]string{"{a*:3}"}, []string{"x"}},
		"{a,b,c,d,e,f,g,h,i}":         {[]string{"{a,b,c,d,e,f,g,h,i}"}, []string{"x"}},
		"/subscriptions{/topic}{/id}": {[]string{"/subscriptions", "/subscriptions/a%2Fb", "/subscriptions/a/b"}, []string{"/subscriptions/a/b/c"}},
	} {
		s := parse(t, matchSelector, template)
		for _, topic := range tt.yes {
			if !s.matches(topic) {
				t.Errorf("%s does not match %q", template, topic)
			}
		}
		for _, topic := range tt.no {
			if s.matches(topic) {
				t.Errorf("%s matches %q", template, topic)
			}
		}
	}
	if !parse(t, matchSelector, "*").matches("anything") || parse(t, matchSelector, "a*").matches("ab") {
		t.Error("* alone is everything")
	}
}

// TestTemplateBombs: what is large is no template, and what is compiled is small.
func TestTemplateBombs(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		strings.Repeat("{a}", 5000), strings.Repeat("{?a,b,c,d,e,f,g,h}", 200), strings.Repeat("{+a:99}", 20), "{a:9999}",
		strings.Repeat("{", 10_000), strings.Repeat("{a,", 1000) + "}", "{?" + strings.Repeat("a", 60_000) + "}",
	} {
		if s := parse(t, matchSelector, text); s.re != nil {
			t.Errorf("%.20s… of %d bytes was compiled (cost %d)", text, len(text), s.cost)
		}
	}
	worst := parse(t, matchSelector, strings.Repeat("{a}", 60))
	if worst.re == nil {
		t.Fatal("not compiled")
	}
	if worst.matches(strings.Repeat("a", 2000) + "/") {
		t.Error("a slash")
	}
	c := testCache(t)
	for i := range 300 {
		if i == 200 {
			c.cost = maxCacheCost - 1000 // as if the selectors so far had been dear; compiling such takes a minute
		}
		if _, err := c.parse(matchSelector, fmt.Sprint("{a}{b}", i)); err != nil {
			t.Fatal(err)
		}
		if c.cost > maxCacheCost+maxPatternCost {
			t.Fatalf("the cache has %d selectors of %d", len(c.known), c.cost)
		}
	}
	if len(c.known) >= 200 {
		t.Errorf("the full cache was not emptied: it has %d selectors of %d", len(c.known), c.cost)
	}
}

func TestURLPatterns(t *testing.T) {
	t.Parallel()
	for pattern, tt := range map[string]struct{ yes, no []string }{
		"https://example.com/books/:id": {[]string{"https://example.com/books/1", "https://EXAMPLE.com/books/1?q=1#f", "https://example.com:443/books/1"}, []string{"https://example.com/books/1/2", "https://example.com/books/", "http://example.com/books/1", "https://example.com:444/books/1", "https://example.com/Books/1", "/books/1"}},
		"https://example.com/books/*":   {[]string{"https://example.com/books/1/2", "https://example.com/books/"}, []string{"https://example.com/books"}},
		"https://*.example.com/x":       {[]string{"https://a.example.com/x", "https://a.b.example.com/x"}, []string{"https://example.com/x"}},
		"https://:sub.example.com/x":    {[]string{"https://a.example.com/x"}, []string{"https://a.b.example.com/x"}},
		"http{s}?://example.com/x":      {[]string{"https://example.com/x", "http://example.com/x"}, []string{"httpss://example.com/x"}},
		"/books/:id":                    {[]string{"/books/1", "https://hub.example.com/books/1"}, []string{"https://example.com/books/1", "/books/1/2"}},
		"/books/:id?":                   {[]string{"/books/1", "/books"}, []string{"/books/1/2"}},
		"/books/:id+":                   {[]string{"/books/1", "/books/1/2/3"}, []string{"/books"}},
		"/books/:id*":                   {[]string{"/books/1", "/books/1/2/3", "/books"}, []string{"/bookss"}},
		"/books/(\\d+)":                 {[]string{"/books/12"}, []string{"/books/a", "/books/1a"}},
		"/books/:id(\\d+)-:name":        {[]string{"/books/12-x"}, []string{"/books/a-x"}},
		"/a{b}c":                        {[]string{"/abc"}, []string{"/ac"}},
		"/a{/b}?":                       {[]string{"/a", "/a/b"}, []string{"/a/b/b"}},
		"/a{/:x}+":                      {[]string{"/a/1", "/a/1/2"}, []string{"/a"}},
		"/a?q=:x":                       {[]string{"/a?q=1"}, []string{"/a", "/a?p=1"}},
		"/a\\?":                         {[]string{"/a"}, []string{"/a%3F", "/a?b"}},
		"/caf\u00e9":                    {[]string{"/caf\u00e9", "/caf%C3%A9"}, []string{"/cafe"}},
		"#x":                            {[]string{"#x", "/.well-known/mercure#x"}, []string{"/other#x", "#y"}},
		"https://example.com:8443/*":    {[]string{"https://example.com:8443/x"}, []string{"https://example.com/x"}},
		"https://example.com":           {[]string{"https://example.com/", "https://example.com/x/y"}, []string{"https://example.org/"}},
		"urn\\:uuid\\:*":                {[]string{"urn:uuid:1"}, []string{"urn:isbn:1", "https://example.com/uuid:1"}},
		"/.well-known/mercure/subscriptions/:type/:match/:subscriber": {[]string{"/.well-known/mercure/subscriptions/exact/a%2Fb/urn%3Ax"}, []string{"/.well-known/mercure/subscriptions/exact/a"}},
		"*": {[]string{"anything", "%zz"}, nil},
	} {
		s := parse(t, matchURL, pattern)
		for _, topic := range tt.yes {
			if !s.matches(topic) {
				t.Errorf("%s does not match %q", pattern, topic)
			}
		}
		for _, topic := range tt.no {
			if s.matches(topic) {
				t.Errorf("%s matches %q", pattern, topic)
			}
		}
	}
	for _, pattern := range []string{
		"/a/(", "/a/(b", "/a/{b", "/a/}", "/a/()", "/(a(b))", "/(a{1000})", "/:x/:x", "/a/+", "/\\", "/{:a:b}", "/((?=a))", `/(\1)`, "/([)", "/(" + strings.Repeat("a|", 20_000) + "a)",
	} {
		if s, err := testCache(t).parse(matchURL, pattern); err == nil {
			t.Errorf("%.30s is taken, as %v", pattern, s.pattern.parts[partPathname].re)
		}
	}
}
