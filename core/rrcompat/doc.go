// Package rrcompat reads RoadRunner's configuration and says in edge.yaml what it means.
//
// [Parse] reads the bytes of a .rr.yaml, lays included files and -o overrides over them and leaves a tree. [Config.Translate]
// turns the tree into the text of an edge.yaml, which `edge migrate` prints and `edge rr serve` runs, so that both mean the same.
// What edge.yaml cannot say, because it is RoadRunner's manner and not the server's work (the look of the log, the command before
// the start), stands beside it in the [Result]. What Edge does not have is a [Finding]: nothing is dropped in silence.
//
// Everything here is a function of its arguments: no file is opened, no variable of the environment read, nothing of the server
// imported. The rules of RoadRunner that matter:
//
//	keys are found in spite of case; a dot separates them in overrides
//	${VAR}, $VAR and ${VAR:-default} are expanded in every text; what is not set is empty
//	an included file wins over the file that includes it, an override over both
//	durations are Go's (60s); a bare number is nanoseconds; sizes are megabytes
//	the middleware listed last is the outermost
//
// One file for each part of RoadRunner: http.go, pool.go, server.go, kv.go, services.go (rpc, metrics, status), logs.go.
package rrcompat
