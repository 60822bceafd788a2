package pluginkit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/kv"
	"github.com/edge-server/edge/kv/memory"
	"github.com/edge-server/edge/wasmhost"
)

// Target is a plugin to look at, and how it is configured.
type Target struct {
	Name   string
	Config wasmhost.Config // with an entry for Name

	// Configured says that Config is that of an edge.yaml. Else the plugin gets what its manifest asks for, and an example of
	// each grant that its imports need.
	Configured bool
}

// NewTarget is the plugin in file, with the plugins section of an edge.yaml, or nil.
func NewTarget(file string, section *wasmhost.Config) (Target, error) {
	if info, err := os.Stat(file); err != nil {
		return Target{}, err
	} else if info.IsDir() {
		return Target{}, fmt.Errorf("%s is a folder: name the built plugin, such as %s", file, filepath.Join(file, filepath.Base(file)+".wasm"))
	}
	t := Target{Name: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), Config: wasmhost.DefaultConfig()}
	if section != nil {
		t.Config, t.Configured = *section, true
		t.Name = nameIn(*section, file, t.Name)
	}
	module, there := t.Config.Modules[t.Name]
	if !there {
		module = wasmhost.ModuleConfig{}.Defaults().(wasmhost.ModuleConfig)
	}
	module.File = file
	t.set(module)
	return t, nil
}

// nameIn is the name that edge.yaml has for the plugin in file, or otherwise.
func nameIn(section wasmhost.Config, file, otherwise string) string {
	info, err := os.Stat(file)
	if err != nil {
		return otherwise
	}
	for _, name := range slices.Sorted(maps.Keys(section.Modules)) {
		if there, err := os.Stat(section.Modules[name].File); err == nil && os.SameFile(info, there) {
			return name
		}
	}
	return otherwise
}

func (t *Target) module() wasmhost.ModuleConfig { return t.Config.Modules[t.Name] }

// set replaces the configuration of the plugin, which is then the only one.
func (t *Target) set(module wasmhost.ModuleConfig) {
	t.Config.Modules = map[string]wasmhost.ModuleConfig{t.Name: module}
	t.Config.Auto, t.Config.Dir = false, ""
}

// Configure sets the plugin's configuration: a text, or what is read from JSON.
func (t *Target) Configure(config any) {
	module := t.module()
	module.Config = config
	t.set(module)
}

// Allow adds grants, each as KEY=VALUE: kv=sessions, net=https://api.example.com/*.
func (t *Target) Allow(grants []string) error {
	module := t.module()
	fields := grantFields(&module.Allow)
	for _, grant := range grants {
		key, value, ok := strings.Cut(grant, "=")
		field := fields[key]
		if !ok || field == nil {
			return fmt.Errorf("--allow %q: write KEY=VALUE with a key of kv, net, env, folders, publish or php, such as kv=sessions", grant)
		}
		*field = append((*field)[:len(*field):len(*field)], value)
	}
	t.set(module)
	return nil
}

func grantFields(a *wasmhost.Allow) map[string]*[]string {
	return map[string]*[]string{"kv": &a.KV, "net": &a.Net, "env": &a.Env, "folders": &a.Folders, "publish": &a.Publish, "php": &a.PHP}
}

// GrantWishes gives a plugin without an edge.yaml what its manifest asks for, so that it can be loaded.
func (t *Target) GrantWishes(ctx context.Context) error {
	if t.Configured {
		return nil
	}
	report := wasmhost.Survey(t.Name, t.Config, wasmhost.Options{Logger: slog.New(slog.DiscardHandler)})
	module := t.module()
	var wished wasmhost.Allow
	if report.Manifest != nil {
		var err error
		if wished, err = report.Manifest.Grants(); err != nil {
			return err
		}
	}
	fields, wishes := grantFields(&module.Allow), grantFields(&wished)
	for _, want := range report.Wants {
		if want.Granted {
			continue
		}
		*fields[want.Key] = *wishes[want.Key]
		if len(*wishes[want.Key]) == 0 {
			*fields[want.Key] = placeholders[want.Key]
		}
	}
	t.set(module)
	return ctx.Err()
}

// placeholders are grants of nothing that is there.
var placeholders = map[string][]string{"kv": {"STORE"}, "net": {"https://api.example.com/*"}, "publish": {"TOPIC"}, "php": {"POOL"}}

// world is what a plugin meets that runs without a server: stores in memory, a PHP pool that says what it was asked, a hub that
// writes down what is sent.
type world struct {
	mu     sync.Mutex // guards all below
	out    io.Writer
	stores map[string]*memory.Store

	attributes map[connAttribute]string
}

func newWorld(out io.Writer) *world { return &world{out: out, stores: map[string]*memory.Store{}} }

func (w *world) services() wasmhost.Services {
	return wasmhost.Services{
		Store:    w.store,
		Pool:     w.pool,
		HasRoute: func(string) bool { return true },
		Hub:      w,
		Environ:  os.Environ(),
	}
}

func (w *world) store(name string) wasmhost.Store {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stores[name] == nil {
		store, err := memory.New(kv.MemoryConfig{MaxSize: 64 * bytesize.MiB})
		if err != nil {
			return nil
		}
		w.stores[name] = store
	}
	return core.PluginStore(w.stores[name])
}

func (w *world) pool(name string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(rw, "here the PHP pool %q would answer %s %s\n", name, r.Method, r.URL.RequestURI())
	})
}

func (w *world) close(ctx context.Context) {
	for _, store := range w.stores {
		_ = store.Close(ctx) // a store in memory
	}
}

func (w *world) say(format string, args ...any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintf(w.out, format+"\n", args...)
	return err
}

// Send and the others are the hub of WebSockets.
func (w *world) Send(_ string, conn int64, _ uint32, message []byte) error {
	return w.say("to connection %d: %s", conn, message)
}

func (w *world) Publish(topic string, _ uint32, message []byte) error {
	return w.say("to all of %s: %s", topic, message)
}

func (w *world) Subscribe(_ string, conn int64, topic string) error {
	return w.say("connection %d hears %s", conn, topic)
}

func (w *world) Unsubscribe(_ string, conn int64, topic string) error {
	return w.say("connection %d hears %s no more", conn, topic)
}

func (w *world) Close(_ string, conn int64, code uint32, reason string) error {
	return w.say("connection %d is closed with %d %s", conn, code, reason)
}

// User is nobody, until the plugin says otherwise; attributes are those that it has set.
func (w *world) User(_ string, conn int64) (string, error) { return w.attribute(conn, ""), nil }

func (w *world) SetUser(_ string, conn int64, user string) error {
	w.setAttribute(conn, "", user)
	return w.say("connection %d belongs to %s", conn, user)
}

func (w *world) Get(_ string, conn int64, name string) (string, error) {
	return w.attribute(conn, name), nil
}

func (w *world) Set(_ string, conn int64, name, value string) error {
	w.setAttribute(conn, name, value)
	return w.say("connection %d has %s: %s", conn, name, value)
}

// connAttribute names an attribute of a connection; the one without a name is its user.
type connAttribute struct {
	conn int64
	name string
}

func (w *world) attribute(conn int64, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.attributes[connAttribute{conn, name}]
}

func (w *world) setAttribute(conn int64, name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.attributes == nil {
		w.attributes = map[connAttribute]string{}
	}
	w.attributes[connAttribute{conn, name}] = value
}
