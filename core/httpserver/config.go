package httpserver

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Config is the part of the http section of edge.yaml that this package reads.
type Config struct {
	// Listen are the addresses that the server answers on. Default [{address: ":8080"}].
	Listen []Listen `koanf:"listen"`

	TLS    TLS    `koanf:"tls"`
	Limits Limits `koanf:"limits"`
}

// Listen is one address and what is spoken there.
type Listen struct {
	// Address is host:port; an empty host is every address of the machine, port 0 any free port. Or it is unix:PATH for a unix
	// socket, whose clients count as 127.0.0.1, or systemd:NAME for a socket that systemd has opened, by its FileDescriptorName= or its
	// number from 0. It has no default.
	Address string `koanf:"address"`

	// TLS turns on HTTPS: HTTP/1.1 and HTTP/2, chosen by the client. Default false.
	TLS bool `koanf:"tls"`

	// HTTP3 answers HTTP/3 on the UDP port of the same number and announces it to HTTP/1.1 and HTTP/2 clients. It needs tls.
	// Default false.
	HTTP3 bool `koanf:"http3"`

	// H2C answers HTTP/2 without TLS to clients that begin with its preface ("prior knowledge"). It has no meaning with tls.
	// Default true.
	H2C bool `koanf:"h2c"`

	// Redirect sends every request to the first listener with tls, by 308. It is for listeners without. Default false.
	Redirect bool `koanf:"redirect"`

	// ProxyProtocol are the addresses of load balancers, such as 10.0.0.0/8, whose connections begin with a header of the PROXY protocol
	// (version 1 or 2) that says who the client is. Connections of others are closed. Default none.
	ProxyProtocol []string `koanf:"proxy_protocol"`

	// ReusePort lets several processes listen on the address (SO_REUSEPORT). Default false.
	ReusePort bool `koanf:"reuse_port"`

	// EarlyData answers GET, HEAD and OPTIONS that HTTP/3 clients send before the handshake is done (0-RTT); an attacker can
	// send those again. Other methods get 425. Default false.
	EarlyData bool `koanf:"early_data"`
}

// Limits bound what one client can take.
type Limits struct {
	// Body is the largest request body; larger ones get 413. 0 means no limit. Default 128MiB.
	Body bytesize.Size `koanf:"body"`

	// Header is the largest request head: request line and headers; larger ones get 431. Default 64KiB.
	Header bytesize.Size `koanf:"header"`

	// ReadHeaderTimeout is the time a client has for a whole request head, and for its TLS handshake before that. Default 10s.
	ReadHeaderTimeout time.Duration `koanf:"read_header_timeout"`

	// BodyTimeout is the longest wait for more of a request body. 0 means for ever. Default 30s.
	BodyTimeout time.Duration `koanf:"body_timeout"`

	// BodyRate is how many bytes of a request body must come in a second, on average, once the server has waited body_timeout for it in all. 0 means
	// any. Default 240B.
	BodyRate bytesize.Size `koanf:"body_rate"`

	// WriteTimeout is the longest time in which a client takes nothing of the answer that waits for it; it then loses the
	// answer (at the latest after twice this time). 0 means for ever. Default 1m.
	WriteTimeout time.Duration `koanf:"write_timeout"`

	// IdleTimeout is how long a connection without a request stays open. Default 2m.
	IdleTimeout time.Duration `koanf:"idle_timeout"`

	// Streams is how many requests one HTTP/2 or HTTP/3 connection may have open at a time. Default 128.
	Streams int `koanf:"streams"`
}

// DefaultConfig is where decoding starts.
func DefaultConfig() Config {
	return Config{
		Listen: []Listen{{Address: ":8080", H2C: true}},
		Limits: Limits{
			Body:              128 * bytesize.MiB,
			Header:            64 * bytesize.KiB,
			ReadHeaderTimeout: 10 * time.Second,
			BodyTimeout:       30 * time.Second,
			BodyRate:          240,
			WriteTimeout:      time.Minute,
			IdleTimeout:       2 * time.Minute,
			Streams:           128,
		},
	}
}

// Defaults is where decoding of one element of http.listen starts.
func (Listen) Defaults() any { return Listen{H2C: true} }

// Validate reports every problem. It opens nothing.
func (c Config) Validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if len(c.Listen) == 0 {
		report("listen: name at least one address, such as [{address: \":8080\"}]")
	}
	first := map[string]int{}
	for i, l := range c.Listen {
		if problem := l.addressProblem(); problem != "" {
			report("listen[%d].address: %s", i, problem)
		} else if j, taken := first[l.Address]; taken && !l.anyPort() {
			report("listen[%d].address: %q is the address of listen[%d] already", i, l.Address, j)
		} else {
			first[l.Address] = i
		}
		if _, err := parseProxies(l.ProxyProtocol); err != nil {
			report("listen[%d].%w", i, err)
		}
		switch {
		case l.HTTP3 && len(l.ProxyProtocol) > 0:
			report("listen[%d].http3: load balancers send no PROXY header before QUIC: use a listener of its own for HTTP/3", i)
		case l.HTTP3 && l.network() == "unix":
			report("listen[%d].http3: needs a UDP port, which a unix socket has not", i)
		case l.EarlyData && !l.HTTP3:
			report("listen[%d].early_data: is of HTTP/3: set http3: true too", i)
		case l.ReusePort && (l.network() == "unix" || strings.HasPrefix(l.Address, systemdPrefix)):
			report("listen[%d].reuse_port: is for addresses with a port (systemd has ReusePort= in the socket unit)", i)
		}
		if l.HTTP3 && !l.TLS {
			report("listen[%d].http3: HTTP/3 is always encrypted: set tls: true too", i)
		}
		if l.Redirect && (l.TLS || c.firstTLS() < 0) {
			report("listen[%d].redirect: sends requests from a listener without tls to one with it: name one of each", i)
		}
	}
	errs = append(errs, c.TLS.validate(), c.validateACME())
	errs = append(errs, c.Limits.validate())
	return errors.Join(errs...)
}

// firstTLS is the index of the listener that redirects lead to, or -1.
func (c Config) firstTLS() int {
	return slices.IndexFunc(c.Listen, func(l Listen) bool { return l.TLS })
}

func (l Limits) validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("limits."+format, args...)) }

	if l.Body < 0 {
		report("body: must not be negative; 0 means no limit, got %d", l.Body)
	}
	if l.Header < bytesize.KiB || l.Header > 16*bytesize.MiB {
		report("header: must be between 1KiB and 16MiB, got %s", l.Header)
	}
	if l.ReadHeaderTimeout <= 0 {
		report("read_header_timeout: must be more than 0, got %s", l.ReadHeaderTimeout)
	}
	if l.BodyTimeout < 0 {
		report("body_timeout: must not be negative; 0 means for ever, got %s", l.BodyTimeout)
	}
	if l.BodyRate < 0 {
		report("body_rate: must not be negative; 0 means any, got %d", l.BodyRate)
	}
	if l.WriteTimeout < 0 {
		report("write_timeout: must not be negative; 0 means for ever, got %s", l.WriteTimeout)
	}
	if l.IdleTimeout <= 0 {
		report("idle_timeout: must be more than 0, got %s", l.IdleTimeout)
	}
	if l.Streams < 1 || l.Streams > 100_000 {
		report("streams: must be between 1 and 100000, got %d", l.Streams)
	}
	return errors.Join(errs...)
}

// addressProblem returns what is wrong with the address, or "".
func (l Listen) addressProblem() string {
	if l.Address == "" {
		return `must be host:port, such as ":8080"`
	}
	if strings.HasPrefix(l.Address, unixPrefix) || strings.HasPrefix(l.Address, systemdPrefix) {
		if _, rest, _ := strings.Cut(l.Address, ":"); rest == "" || rest[0] == 0 || len(rest) > 100 {
			return fmt.Sprintf("%q: write unix:/run/edge.sock, of at most 100 characters, or systemd:NAME", l.Address)
		}
		return ""
	}
	_, port, err := net.SplitHostPort(l.Address)
	if err != nil {
		return fmt.Sprintf("%q is not host:port; write \":8080\" for every address of the machine, \"127.0.0.1:8080\" or \"[::1]:8080\"", l.Address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q: the port must be a number between 0 and 65535", l.Address)
	}
	return ""
}

// network is tcp or unix.
func (l Listen) network() string {
	if strings.HasPrefix(l.Address, "unix:") {
		return "unix"
	}
	return "tcp"
}

func (l Listen) anyPort() bool {
	_, port, _ := net.SplitHostPort(l.Address)
	n, err := strconv.Atoi(port)
	return err == nil && n == 0
}
