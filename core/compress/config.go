package compress

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is what the middleware compress does.
type Config struct {
	// Encodings that are used, the preferred one first: a client that takes several equally gets the first. Default [zstd, br, gzip].
	Encodings []string `koanf:"encodings"`

	// Types of content that are compressed; type/* is all of a type, and +json all that are written in JSON. Default: text, JSON, XML, JavaScript, wasm, SVG and fonts.
	Types []string `koanf:"types"`

	// MinSize is how long an answer must be to be worth it. Default 1KiB.
	MinSize bytesize.Size `koanf:"min_size"`
}

// DefaultConfig compresses what shrinks.
func DefaultConfig() Config {
	return Config{
		Encodings: slices.Clone(encodings),
		Types: []string{
			"text/*", "+json", "+xml", "application/json", "application/javascript", "application/xml", "application/wasm",
			"application/x-javascript", "application/x-ndjson", "application/yaml", "image/bmp", "image/x-icon", "font/otf", "font/ttf",
		},
		MinSize: bytesize.KiB,
	}
}

// encodings are those that there are, in the order of preference.
var encodings = []string{"zstd", "br", "gzip"}

// Validate checks the configuration.
func (c *Config) Validate() error {
	var errs []error
	for i, name := range c.Encodings {
		if !slices.Contains(encodings, name) {
			errs = append(errs, fmt.Errorf("encodings[%d]: %q is not an encoding: write some of %s", i, name, strings.Join(encodings, ", ")))
		}
		if slices.Contains(c.Encodings[:i], name) {
			errs = append(errs, fmt.Errorf("encodings[%d]: %q stands there twice", i, name))
		}
	}
	for i, pattern := range c.Types {
		if main, sub, ok := strings.Cut(pattern, "/"); !strings.HasPrefix(pattern, "+") && (!ok || main == "" || sub == "") || strings.ContainsAny(pattern, "; ,") {
			errs = append(errs, fmt.Errorf("types[%d]: %q is not a type: write text/html, text/* or +json", i, pattern))
		}
	}
	if c.MinSize < 0 || c.MinSize > maxHeld {
		errs = append(errs, fmt.Errorf("min_size: must be 0 to %d bytes, got %s: so much of each answer is held back", maxHeld, c.MinSize))
	}
	return errors.Join(errs...)
}
