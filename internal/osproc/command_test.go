package osproc

import "testing"

// TestNoSecretInCommand: what logs and the admin API show of a command has no secret in it, and all the rest.
func TestNoSecretInCommand(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		command Command
		want    string
	}{
		{Command{"php", "artisan", "queue:work", "--tries=3"}, "php artisan queue:work --tries=3"},
		{Command{"agent", "--token=abc", "--name", "a"}, "agent --token=[redacted] --name a"},
		{Command{"agent", "--api-key", "abc", "-v"}, "agent --api-key [redacted] -v"},
		{Command{"agent", "--db.Password=abc"}, "agent --db.Password=[redacted]"},
		{Command{"agent", "--password", "--verbose"}, "agent --password --verbose"},
		{Command{"agent", "--tokens=4", "token=5"}, "agent --tokens=4 token=5"},
	} {
		if got := c.command.String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
