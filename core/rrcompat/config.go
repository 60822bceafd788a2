package rrcompat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Source is what a configuration is made of.
type Source struct {
	// Name is the file's, for messages. Its ending says the format: .yaml, .yml or .json.
	Name string
	// Text of the file; it may be empty.
	Text []byte
	// Overrides are the -o options, key=value.
	Overrides []string
	// Lookup finds a variable of the environment.
	Lookup func(name string) (string, bool)
	// Include reads a file that the configuration includes. Nil: including is refused.
	Include func(name string) ([]byte, error)
}

// Config is a RoadRunner configuration that was read.
type Config struct {
	name   string
	root   value
	lookup func(string) (string, bool)

	origins map[string]string // of the last Translate
}

// Parse reads the file, what it includes and the overrides. It does not look at what they say.
func Parse(s Source) (*Config, error) {
	root, err := parseFile(s.Name, s.Text)
	if err != nil {
		return nil, err
	}
	for _, o := range s.Overrides {
		if err := root.override(o); err != nil {
			return nil, err
		}
	}
	c := &Config{name: s.Name, root: *root, lookup: s.Lookup}
	if c.lookup == nil {
		c.lookup = func(string) (string, bool) { return "", false }
	}
	if err := c.include(s); err != nil {
		return nil, err
	}
	return c, nil
}

// include lays included files over the file, and the overrides over both. Included files include no others.
func (c *Config) include(s Source) error {
	e := c.root.find("include")
	if e == nil {
		return nil
	}
	e.used = true
	names := splitList(&e.value, func(text string) string { return expand(text, c.lookup) })
	if len(names) > 0 && s.Include == nil {
		return fmt.Errorf("%s: include: other files cannot be read here", c.name)
	}
	for _, name := range names {
		text, err := s.Include(name)
		if err != nil {
			return fmt.Errorf("%s: include: %w", c.name, err)
		}
		part, err := parseFile(name, text)
		if err != nil {
			return err
		}
		if mine, its := c.root.find("version"), part.find("version"); mine != nil && its != nil && mine.text != its.text {
			return fmt.Errorf("%s: version: is %q, and %q in %s, which includes it", name, its.text, mine.text, c.name)
		}
		c.root.merge(part)
	}
	for _, o := range s.Overrides {
		if err := c.root.override(o); err != nil {
			return err
		}
	}
	return nil
}

// CheckVersion is RoadRunner's own gate: version must be there. A problem that RoadRunner only warns of is in warning.
func (c *Config) CheckVersion() (warning string, err error) {
	e := c.root.find("version")
	if e == nil || e.text == "" {
		return "", fmt.Errorf("%s: version: is missing: write version: \"3\", or start with -o version=3", c.name)
	}
	if v := expand(e.text, c.lookup); !strings.HasPrefix(v, "3") {
		return fmt.Sprintf("version: %q is an older schema; it is read as 3", v), nil
	}
	return "", nil
}

// RPC is the address of rpc.listen, which `rr reset` and `rr workers` call; "" without an rpc section.
func (c *Config) RPC() string {
	rpc := c.root.find("rpc")
	if rpc == nil || rpc.kind == scalar || rpc.kind == list {
		return ""
	}
	if e := rpc.find("listen"); e != nil && e.text != "" {
		return expand(e.text, c.lookup)
	}
	return defaultRPC
}

// ErrNoRPC is the answer to a command that needs RPC when the configuration has none.
var ErrNoRPC = errors.New("rpc.listen is not set: add rpc: {listen: tcp://127.0.0.1:6001} to the configuration, or -o rpc.listen=tcp://127.0.0.1:6001")

const defaultRPC = "tcp://127.0.0.1:6001"

// Resolved is the whole configuration as plain values, with what may be a secret taken out.
func (c *Config) Resolved() map[string]any {
	m, _ := c.plain(&c.root, "").(map[string]any)
	return m
}

const redacted = "[redacted]"

var (
	secretKey = regexp.MustCompile(`(?i)pass(word|phrase)?$|secret|token|credential|api_?key|private_?key|^dsn$|^auth`)
	userInfo  = regexp.MustCompile(`//[^/@\s]*@`)
)

// plain leaves values of environments out as a whole: what they hold is seldom public.
func (c *Config) plain(v *value, key string) any {
	switch v.kind {
	case section:
		m := map[string]any{}
		for _, e := range v.entries {
			name := strings.ToLower(e.name)
			if key == "env" || secretKey.MatchString(name) {
				m[name] = redacted
				continue
			}
			m[name] = c.plain(&e.value, name)
		}
		return m
	case list:
		values := []any{}
		for _, item := range v.list {
			values = append(values, c.plain(item, key))
		}
		return values
	case scalar:
		return userInfo.ReplaceAllString(expand(v.text, c.lookup), "//"+redacted+"@")
	}
	return nil
}
