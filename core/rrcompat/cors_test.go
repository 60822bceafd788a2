package rrcompat

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// corsOf is what becomes of http.headers.cors.
func corsOf(t *testing.T, cors string) (made struct {
	Origins     []string `yaml:"origins"`
	OriginRegex string   `yaml:"origin_regex"`
	Credentials bool     `yaml:"credentials"`
}, r *Result) {
	t.Helper()
	r, err := translate("server: {command: php w.php}\nhttp: {address: 'a:1', middleware: [headers], headers: {cors: "+cors+"}}", false)
	if err != nil {
		t.Fatalf("%s: %v", cors, err)
	}
	var file struct {
		HTTP struct {
			Headers struct{ CORS yaml.Node } `yaml:"headers"`
		} `yaml:"http"`
	}
	if err := yaml.Unmarshal(r.EdgeYAML, &file); err != nil {
		t.Fatal(err)
	}
	if err := file.HTTP.Headers.CORS.Decode(&made); err != nil {
		t.Fatal(err)
	}
	return made, r
}

// TestCredentialsForEveryone are in RoadRunner's own reference file. Browsers refuse the pair, and the server starts.
func TestCredentialsForEveryone(t *testing.T) {
	t.Parallel()
	made, r := corsOf(t, `{allowed_origin: "*", allow_credentials: true}`)
	if made.Credentials || len(made.Origins) != 1 || made.Origins[0] != "*" {
		t.Errorf("got %+v", made)
	}
	warned := 0
	for _, f := range r.Findings {
		if f.Warning && f.Key == "http.headers.cors.allow_credentials" {
			warned++
		}
	}
	if warned != 1 {
		t.Errorf("%d warnings among %q", warned, r.Findings)
	}
	for _, cors := range []string{`{allowed_origin: "https://a.example", allow_credentials: true}`, `{allowed_origin: "*", allowed_origin_regex: "^http://foo", allow_credentials: true}`} {
		if made, _ := corsOf(t, cors); !made.Credentials {
			t.Errorf("%s: the credentials are gone", cors)
		}
	}
}

// TestOriginRegexMeansTheSame: Edge wants the whole origin to match, RoadRunner any part of it, and only by the regular expression
// when there is one.
func TestOriginRegexMeansTheSame(t *testing.T) {
	t.Parallel()
	origins := []string{"http://foo", "http://foo.example", "https://a.example", "https://b.example:8080", "http://x.http://foo", "null", "HTTPS://A.EXAMPLE", "https://a.exampleb"}
	for _, pattern := range []string{`^http://foo`, `example$`, `foo|^https://b`, `^https://[a-z]\.example$`, `^http://foo$|null`, `(?i)^https://a\.example`, `a\.example`, `x?`, `^$`} {
		made, _ := corsOf(t, `{allowed_origin: "*", allowed_origin_regex: '`+pattern+`'}`)
		if len(made.Origins) > 0 {
			t.Errorf("%s: RoadRunner ignores allowed_origin beside a regular expression, got %q", pattern, made.Origins)
		}
		whole, err := regexp.Compile(`^(?:` + strings.ReplaceAll(made.OriginRegex, "$$", "$") + `)$`)
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, origin := range origins {
			if got, want := whole.MatchString(origin), regexp.MustCompile(pattern).MatchString(origin); got != want {
				t.Errorf("%s (made of %s), %s: got %v, want %v", made.OriginRegex, pattern, origin, got, want)
			}
		}
	}
	if made, _ := corsOf(t, `{allowed_origin_regex: '^https://[a-z]+\.example$'}`); made.OriginRegex != `^https://[a-z]+\.example$` {
		t.Errorf("what matches only whole origins is %s", made.OriginRegex)
	}
	_, err := translate("server: {command: php w.php}\nhttp: {address: 'a:1', middleware: [headers], headers: {cors: {allowed_origin_regex: 'a('}}}", false)
	if err == nil || !strings.Contains(err.Error(), ".rr.yaml:2: http.headers.cors.allowed_origin_regex: error parsing regexp") {
		t.Errorf("a broken one: %v", err)
	}
}
