package wasmhost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-server/edge/sdk/abi"
)

const maxManifest = 64 << 10

// Manifest is what a module says about itself in its custom section edge.manifest, readable without running it.
type Manifest struct {
	Name    string                     `json:"name"`
	Version string                     `json:"version"`
	Kinds   []string                   `json:"kinds"`
	Config  json.RawMessage            `json:"config"` // a JSON schema
	Allow   map[string]json.RawMessage `json:"allow"`  // as in edge.yaml
}

// ReadManifest returns the manifest of a module, nil if it has none.
func ReadManifest(module []byte) (*Manifest, error) {
	section, err := customSection(module, abi.ManifestSection)
	if section == nil || err != nil {
		return nil, err
	}
	if len(section) > maxManifest {
		return nil, fmt.Errorf("the section %s has %d bytes; at most %d are read", abi.ManifestSection, len(section), maxManifest)
	}
	m := &Manifest{}
	if err := json.Unmarshal(bytes.TrimRight(section, "\x00"), m); err != nil {
		return nil, fmt.Errorf("the section %s is not the JSON that it should be: %w", abi.ManifestSection, err)
	}
	if len(m.Name) > 128 || len(m.Version) > 128 {
		return nil, fmt.Errorf("the section %s: name and version have at most 128 bytes", abi.ManifestSection)
	}
	return m, nil
}

// customSection returns the first custom section of that name, not a copy.
func customSection(module []byte, name string) ([]byte, error) {
	if len(module) < 8 {
		return nil, errMalformed
	}
	for rest := reader(module[8:]); len(rest) > 0; {
		id, err := rest.byte()
		if err != nil {
			return nil, err
		}
		content, err := rest.bytes()
		if err != nil {
			return nil, err
		}
		if id != sectionCustom {
			continue
		}
		section := reader(content)
		if title, err := section.bytes(); err == nil && string(title) == name {
			return append([]byte{}, section...), nil
		}
	}
	return nil, nil
}

// check compares the manifest with what the module exports.
func (m *Manifest) check(kinds Kind) error {
	if m == nil {
		return nil
	}
	var errs []error
	for _, name := range m.Kinds {
		i := slices.IndexFunc(kindNames, func(k struct {
			kind Kind
			name string
		}) bool {
			return k.name == name
		})
		switch {
		case i < 0:
			errs = append(errs, fmt.Errorf("its manifest says that it is %.32q, which is no kind: middleware, origin, router, kv, ws or cron", name))
		case !kinds.Has(kindNames[i].kind):
			errs = append(errs, fmt.Errorf("its manifest says that it is %s, but its exports make it %s", name, kinds))
		}
	}
	return errors.Join(errs...)
}

// narrow takes from kinds what the SDK exported and the author did not write: a Go module always has the exports of middleware, and
// a KV driver in the plugin folder must not stand in the way of every request.
func (m *Manifest) narrow(kinds Kind) Kind {
	if m == nil || len(m.Kinds) == 0 || slices.Contains(m.Kinds, "middleware") || slices.Contains(m.Kinds, "origin") || kinds == KindMiddleware {
		return kinds
	}
	return kinds &^ KindMiddleware
}

// wants is what the manifest asks for under a key of allow, on one line.
func (m *Manifest) wants(key string) string {
	if m == nil || m.Allow[key] == nil {
		return ""
	}
	var out bytes.Buffer
	if json.Compact(&out, m.Allow[key]) != nil || out.Len() > 500 {
		return ""
	}
	return strings.ToValidUTF8(out.String(), "\uFFFD")
}
