package php

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Which encoding of a context RoadRunner's HTTP package reads depends on its release, and nothing on the wire tells: one that
// cannot read the first request answers 400 or reports an error, as any application may. Composer wrote down what it installed, so
// that is where a pool with codec: auto looks, once for each generation. Releases from 3.5 on read both and get protobuf, as from
// RoadRunner: see "Why does codec: auto not choose JSON" in /RATIONALE.md.
const httpPackage = "spiral/roadrunner-http"

// readsProtobufFrom is the first release of the package that understands protobuf.
var readsProtobufFrom = [2]int{3, 5}

// dialectOf says what to send to the workers of a generation that announce nothing themselves.
func dialectOf(s *spec, codec string) dialect {
	switch codec {
	case jsonCodec:
		return speaksJSON
	case protoCodec:
		return speaksProto
	}
	script := scriptOf(s)
	if script == "" {
		return speaksProto
	}
	version := installed(httpPackage, filepath.Dir(resolved(script)), filepath.Dir(script), s.dir)
	if release, ok := parseRelease(version); ok && slices.Compare(release[:], readsProtobufFrom[:]) < 0 {
		return speaksJSON
	}
	return speaksProto
}

// maxComposerFile is far more than any vendor folder's installed.json.
const maxComposerFile = 64 << 20

// installed returns the version of a package in the vendor folder that is nearest to one of the folders, or above it.
func installed(name string, folders ...string) string {
	for _, dir := range folders {
		for {
			if text, ok := readSome(filepath.Join(vendorOf(dir), "composer", "installed.json"), maxComposerFile); ok {
				return versionIn(text, name)
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	return ""
}

// vendorOf is where Composer puts the packages of a project in dir.
func vendorOf(dir string) string {
	var project struct {
		Config struct {
			VendorDir string `json:"vendor-dir"`
		} `json:"config"`
	}
	if text, ok := readSome(filepath.Join(dir, "composer.json"), maxComposerFile); ok {
		_ = json.Unmarshal(text, &project) // a project without the key, or with another idea of it
	}
	vendor := project.Config.VendorDir
	switch {
	case vendor == "":
		vendor = "vendor"
	case filepath.IsAbs(vendor):
		return vendor
	}
	return filepath.Join(dir, vendor)
}

// versionIn finds a package in an installed.json: an object since Composer 2, a list before.
func versionIn(text []byte, name string) string {
	type installed struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	var now struct {
		Packages []installed `json:"packages"`
	}
	list := &now.Packages
	if json.Unmarshal(text, &now) != nil && json.Unmarshal(text, list) != nil {
		return ""
	}
	for _, p := range *list {
		if p.Name == name {
			return p.Version
		}
	}
	return ""
}

// parseRelease reads v3.5.1, 3.5.1.0 or 4.0.0-beta1; dev-master is none.
func parseRelease(version string) (release [2]int, ok bool) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return release, false
	}
	for i := range release {
		n, err := strconv.Atoi(parts[i])
		if err != nil {
			return release, false
		}
		release[i] = n
	}
	return release, true
}

// readSome reads a file of at most limit bytes.
func readSome(path string, limit int64) ([]byte, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > limit {
		return nil, false
	}
	text, err := os.ReadFile(path)
	return text, err == nil
}

// resolved is path without links, or as it is when it cannot be followed.
func resolved(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
