//go:build !race

package php_test

const raceDetector = false
