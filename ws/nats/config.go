package nats

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/edge-server/edge/internal/tlsclient"
)

// Values of Config.Storage.
const (
	StorageMemory = "memory"
	StorageFile   = "file"
)

// Config is the section nats of ws.broker.
type Config struct {
	// Servers are the URLs of the servers of one cluster: nats://host:port or tls://host:port. Default [nats://127.0.0.1:4222].
	Servers []string `koanf:"servers"`

	// Username and Password are those of the servers. Default "".
	Username string `koanf:"username"`
	Password string `koanf:"password"`

	// Token is another way to log in. Default "".
	Token string `koanf:"token"`

	// Credentials is a file, .creds, with a JWT and its key. Default "".
	Credentials string `koanf:"credentials"`

	// NKey is a file with the seed of an nkey of a user. Default "".
	NKey string `koanf:"nkey"`

	// TLS encrypts connections. Default: none.
	TLS *tlsclient.Config `koanf:"tls"`

	// Replicas is how many servers of the cluster hold each stream. Default 1.
	Replicas int `koanf:"replicas"`

	// Storage of the history: memory or file. Members are in memory always. Default memory.
	Storage string `koanf:"storage"`

	// HistorySize and HistoryTTL bound what is kept of a channel, whatever a publication asks for. Default 1000 and 24h.
	HistorySize int           `koanf:"history_size"`
	HistoryTTL  time.Duration `koanf:"history_ttl"`
}

// Defaults is where decoding of a present section starts.
func (Config) Defaults() any {
	return Config{Servers: []string{"nats://127.0.0.1:4222"}, Replicas: 1, Storage: StorageMemory, HistorySize: 1000, HistoryTTL: 24 * time.Hour}
}

// Validate says what is wrong with the section.
func (c *Config) Validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Servers) == 0 {
		complain("servers: must have a URL, such as nats://127.0.0.1:4222")
	}
	for i, text := range c.Servers {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			complain("servers[%d]: is no URL such as nats://127.0.0.1:4222", i)
		case u.User != nil:
			complain("servers[%d]: must not have a name or password; write username, password or token", i)
		}
	}
	logins := 0
	for _, one := range []string{c.Username, c.Token, c.Credentials, c.NKey} {
		if one != "" {
			logins++
		}
	}
	if logins > 1 {
		complain("username: is one way to log in; write only one of username, token, credentials and nkey")
	}
	if c.Password != "" && c.Username == "" {
		complain("password: needs a username")
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		complain("replicas: must be between 1 and 5, got %d", c.Replicas)
	}
	if c.Storage != StorageMemory && c.Storage != StorageFile {
		complain("storage: %q is unknown; write memory or file", c.Storage)
	}
	if c.HistorySize < 1 || c.HistorySize > 100_000 {
		complain("history_size: must be between 1 and 100000, got %d", c.HistorySize)
	}
	if c.HistoryTTL < time.Second {
		complain("history_ttl: must be 1s or more, got %s", c.HistoryTTL)
	}
	errs = append(errs, c.TLS.Validate())
	return errors.Join(errs...)
}

func (d *Driver) connect() (*nats.Conn, error) {
	encryption, err := d.cfg.TLS.Load()
	if err != nil {
		return nil, err
	}
	timeout := d.opts.Timeout
	if n := len(d.cfg.Servers); n > 1 { // the first one may be one that does not answer
		timeout = max(timeout/time.Duration(n), 100*time.Millisecond)
	}
	options := []nats.Option{
		nats.Name("edge-ws " + d.node), nats.NoReconnect(), nats.Timeout(timeout), nats.PingInterval(d.opts.Timeout), nats.MaxPingsOutstanding(1),
		nats.FlusherTimeout(d.opts.Timeout), nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { d.sink.Lost(0, err) }),
		nats.ClosedHandler(func(c *nats.Conn) { d.sink.Lost(0, errors.Join(errClosed, c.LastError())) }),
	}
	if encryption != nil {
		options = append(options, nats.Secure(encryption))
	}
	switch {
	case d.cfg.NKey != "":
		login, err := nats.NkeyOptionFromSeed(d.cfg.NKey)
		if err != nil {
			return nil, fmt.Errorf("nkey: %s: %w", d.cfg.NKey, err)
		}
		options = append(options, login)
	case d.cfg.Credentials != "":
		options = append(options, nats.UserCredentials(d.cfg.Credentials))
	case d.cfg.Token != "":
		options = append(options, nats.Token(d.cfg.Token))
	case d.cfg.Username != "":
		options = append(options, nats.UserInfo(d.cfg.Username, d.cfg.Password))
	}
	return nats.Connect(strings.Join(d.cfg.Servers, ","), options...)
}
