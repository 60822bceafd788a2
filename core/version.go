package core

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version of Edge. Releases set it with -ldflags "-X github.com/edge-server/edge/core.Version=…".
var Version = "0.1.0-dev"

// RoadRunnerVersion is the release of RoadRunner whose behaviour workers see; its PHP packages compare RR_VERSION with it.
const RoadRunnerVersion = "2025.1.15"

// VersionDetail is what `edge version` prints: the version, the commit it was built from when known, Go and platform.
func VersionDetail() string {
	detail := Version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				detail += " (" + s.Value[:min(12, len(s.Value))] + ")"
			}
		}
	}
	return fmt.Sprintf("%s %s %s/%s", detail, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
