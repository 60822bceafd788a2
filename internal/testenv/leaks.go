package testenv

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, of which none may leave a goroutine behind. It is all that a TestMain does.
func Main(m *testing.M, ignored ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := Leaks(ignored...); err != nil {
			fmt.Fprintf(os.Stderr, "the tests passed and left goroutines behind: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Leaks names the goroutines that do not end. goleak gives them less than half a second, in which a loaded machine may not come round to them.
func Leaks(ignored ...goleak.Option) error {
	http.DefaultClient.CloseIdleConnections()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err = goleak.Find(ignored...); err == nil {
			return nil
		}
	}
	return err
}
