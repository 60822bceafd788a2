package wasmhost

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero"
)

// Allow is what a plugin may reach beside its requests. Nothing by default: an import without its grant refuses the module.
type Allow struct {
	// KV are stores of the kv section. Default none.
	KV []string `koanf:"kv"`

	// Net are places to connect to: tcp://host:port (TLS or not), https://host/path/*. A host is a name, *.name, *, an address, or
	// for tcp a network such as 10.0.0.0/8; a port may be *. A name leads to loopback, private and link-local addresses only with
	// " private" behind it; an address, a network and localhost need no such word. Default none.
	Net []string `koanf:"net"`

	// Env are variables of the server's environment that the plugin's environment has. Default none.
	Env []string `koanf:"env"`

	// Folders are those that the plugin may read, with all below: data/geo, which it sees as /geo, or data/geo:/there. A relative
	// path is taken from the folder of edge.yaml. Default none.
	Folders []string `koanf:"folders"`

	// Publish are the topics of WebSockets that the plugin publishes and subscribes to; chat.* is all that begins with chat.
	// Default none.
	Publish []string `koanf:"publish"`

	// PHP are pools that the plugin calls, or as a router sends requests to. Default none.
	PHP []string `koanf:"php"`
}

// SplitFolder takes an entry of allow.folders apart: the folder, and where the plugin sees it.
func SplitFolder(entry string) (folder, at string) {
	folder, at, named := strings.Cut(entry, ":")
	if !named {
		at = path.Base(folder)
	}
	return folder, path.Clean("/" + at)
}

// problems of the allow section.
func (a Allow) problems() []error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf("allow."+format, args...)) }
	for n, grant := range a.Net {
		if _, err := parseNetRule(grant); err != nil {
			report("net[%d]: %w", n, err)
		}
	}
	for n, name := range a.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			report("env[%d]: %q is not the name of a variable", n, name)
		}
	}
	places := map[string]bool{}
	for n, entry := range a.Folders {
		folder, at := SplitFolder(entry)
		switch {
		case folder == "":
			report("folders[%d]: the folder is missing", n)
		case places[at]:
			report("folders[%d]: another folder is at %s already; write FOLDER:/place for one of them", n, at)
		}
		places[at] = true
	}
	for n, topic := range a.Publish {
		if topic == "" || strings.Contains(strings.TrimSuffix(topic, "*"), "*") {
			report("publish[%d]: %q is not a topic: a * may only end it, as in chat.*", n, topic)
		}
	}
	for key, names := range map[string][]string{"kv": a.KV, "php": a.PHP} {
		if slices.Contains(names, "") {
			report("%s: an empty name", key)
		}
	}
	return errs
}

// grants is Allow, ready to be asked.
type grants struct {
	Allow
	net []netRule
}

func newGrants(a Allow) (grants, error) {
	g := grants{Allow: a}
	for _, grant := range a.Net {
		rule, err := parseNetRule(grant)
		if err != nil {
			return g, fmt.Errorf("allow.net: %w", err)
		}
		g.net = append(g.net, rule)
	}
	return g, nil
}

// has reports whether this key of allow is there. An empty list grants the namespace and nothing in it, for a plugin that imports
// what it can do without.
func (g *grants) has(key string) bool {
	switch key {
	case "kv":
		return g.KV != nil
	case "net":
		return g.Net != nil
	case "publish":
		return g.Publish != nil
	case "php":
		return g.PHP != nil
	}
	return false
}

// grantExamples are what to write to grant a namespace.
var grantExamples = map[string]string{
	"kv": "[STORE]", "net": `["https://api.example.com/*"]`, "publish": `["TOPIC"]`, "php": "[POOL]",
}

func (g *grants) topic(name string) bool {
	return slices.ContainsFunc(g.Publish, func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, "*")
		return wild && strings.HasPrefix(name, prefix) || pattern == name
	})
}

// netRule is one entry of allow.net.
type netRule struct {
	scheme  string       // tcp, http, https
	host    string       // lower case; "" with network
	network netip.Prefix // for addresses
	port    string       // or *
	path    string       // "" is any; with a final * a prefix
	private bool
}

func parseNetRule(entry string) (netRule, error) {
	to, private := strings.CutSuffix(entry, " private")
	scheme, rest, ok := strings.Cut(to, "://")
	if !ok || scheme != "tcp" && scheme != "http" && scheme != "https" {
		return netRule{}, fmt.Errorf("%q is no place to connect to: write tcp://host:port or https://host/*", entry)
	}
	r := netRule{scheme: scheme, private: private}
	authority := rest
	if scheme != "tcp" {
		if at := strings.IndexByte(rest, '/'); at >= 0 {
			authority, r.path = rest[:at], rest[at:]
		}
		if star := strings.IndexByte(r.path, '*'); star >= 0 && (star != len(r.path)-1 || !strings.HasSuffix(r.path, "/*")) {
			return netRule{}, fmt.Errorf("%q: a * may only end the path, as in /v1/*", entry)
		}
	}
	host, port, err := splitAuthority(authority, scheme)
	if err != nil {
		return netRule{}, fmt.Errorf("%q: %w", entry, err)
	}
	r.host, r.port = strings.ToLower(strings.TrimSuffix(host, ".")), port
	if prefix, err := netip.ParsePrefix(host); err == nil {
		r.host, r.network, r.private = "", prefix.Masked(), true
	} else if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		r.host, r.network, r.private = "", netip.PrefixFrom(addr, addr.BitLen()), true
	} else if strings.ContainsAny(strings.TrimPrefix(r.host, "*."), "*/@") && r.host != "*" {
		return netRule{}, fmt.Errorf("%q: %q is not a host: a name, *.name, *, or an address", entry, host)
	}
	r.private = r.private || r.host == "localhost"
	return r, nil
}

// splitAuthority is net.SplitHostPort for patterns: networks have slashes, http has a default port.
func splitAuthority(authority, scheme string) (host, port string, err error) {
	host = authority
	if at := strings.LastIndexByte(authority, ':'); at >= 0 && !strings.HasSuffix(authority, "]") {
		host, port = authority[:at], authority[at+1:]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return "", "", errors.New("an address without its closing ]")
		}
	}
	switch {
	case port == "" && scheme == "http":
		port = "80"
	case port == "" && scheme == "https":
		port = "443"
	}
	if n, parseErr := strconv.ParseUint(port, 10, 16); (parseErr != nil || n == 0) && port != "*" {
		return "", "", errors.New("the port is missing: write host:6379, or host:* for any")
	}
	if host == "" {
		return "", "", errors.New("the host is missing")
	}
	return host, port, nil
}

// meets reports whether the rule is about host and port.
func (r netRule) meets(host, port string) bool {
	if r.port != "*" && r.port != port {
		return false
	}
	if r.network.IsValid() {
		addr, err := netip.ParseAddr(host)
		return err == nil && r.network.Contains(addr.Unmap())
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if suffix, wild := strings.CutPrefix(r.host, "*."); wild {
		label, found := strings.CutSuffix(host, "."+suffix)
		return found && label != ""
	}
	return r.host == "*" || r.host == host
}

func (r netRule) permitsPath(p string) bool {
	prefix, wild := strings.CutSuffix(r.path, "*")
	return r.path == "" || r.path == p || wild && strings.HasPrefix(p, prefix)
}

// tcp reports whether a connection to host and port is granted.
func (g *grants) tcp(host, port string) bool {
	return slices.ContainsFunc(g.net, func(r netRule) bool { return r.permitsTCP(host, port) })
}

// http reports whether a request is granted.
func (g *grants) http(scheme, host, port, path string) bool {
	return slices.ContainsFunc(g.net, func(r netRule) bool { return r.permitsHTTP(scheme, host, port, path) })
}

// privateTCP reports whether a connection to host and port may go to a special address: whether one grant that says so is enough
// for it.
func (g *grants) privateTCP(host, port string) bool {
	return slices.ContainsFunc(g.net, func(r netRule) bool { return r.private && r.permitsTCP(host, port) })
}

// privateHTTP is privateTCP for a request. It must be one and the same grant: what permits requests to anywhere does not widen the
// paths of another one that names a private address.
func (g *grants) privateHTTP(scheme, host, port, path string) bool {
	return slices.ContainsFunc(g.net, func(r netRule) bool { return r.private && r.permitsHTTP(scheme, host, port, path) })
}

func (r netRule) permitsTCP(host, port string) bool { return r.scheme == "tcp" && r.meets(host, port) }

func (r netRule) permitsHTTP(scheme, host, port, path string) bool {
	return r.scheme == scheme && r.meets(host, port) && r.permitsPath(path)
}

// openFolders makes the granted folders those of the guest. They are read through os.Root: no symbolic link and no .. leads out.
func (g *grants) openFolders() ([]*os.Root, error) {
	var roots []*os.Root
	for _, entry := range g.Folders {
		folder, _ := SplitFolder(entry)
		root, err := os.OpenRoot(folder)
		if err != nil {
			return roots, fmt.Errorf("allow.folders: %w", err)
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// world adds what is granted to what a guest sees of the machine.
func (g *grants) world(config wazero.ModuleConfig, roots []*os.Root, environ []string) wazero.ModuleConfig {
	for _, variable := range environ {
		if name, value, ok := strings.Cut(variable, "="); ok && slices.Contains(g.Env, name) {
			config = config.WithEnv(name, value)
		}
	}
	if len(roots) == 0 {
		return config
	}
	mounts := wazero.NewFSConfig()
	for n, root := range roots {
		_, at := SplitFolder(g.Folders[n])
		mounts = mounts.WithFSMount(root.FS(), at)
	}
	return config.WithFSConfig(mounts)
}
