//go:build race

package php_test

// raceDetector tells that a sync.Pool drops what it is given at random.
const raceDetector = true
