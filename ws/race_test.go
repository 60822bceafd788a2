//go:build race

package ws_test

// raceDetector makes a process many times larger and slower: what is measured then means nothing.
const raceDetector = true
