package wasmhost

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/edge-server/edge/sdk/abi"
)

// Report is what can be said of a plugin before it serves.
type Report struct {
	Size    int // of the file
	SHA256  [sha256.Size]byte
	Script  bool
	Debug   int // bytes of the module that only debuggers read
	Metered int // bytes of the module as it runs, with the counting of fuel and stack in it

	Imports  []Import // of a script those of its engine
	Exports  []string
	Manifest *Manifest
	Wants    []Grant // those that the imports need

	Kinds Kind // of a script only if it loads

	// The rest is known of a plugin that loads.
	Responds  bool          // handle_response does something
	NotCloned string        // why each instance has to be started; "" if they are copies of the first
	Memory    uint64        // linear memory of an instance after its start
	Used      uint64        // of it, in pages that are not all zero
	Tables    uint64        // bytes of its tables
	Load      time.Duration // compiled anew

	// Err is why Edge would refuse the plugin with this configuration, nil if it would not.
	Err error
}

// Import is one module of imports.
type Import struct {
	Module    string
	Functions []string
}

// Grant is a key of allow that a plugin needs.
type Grant struct {
	Key     string
	Granted bool
	Example string // what to write behind the key
}

// Survey says what can be said of the plugin called name without running it.
func Survey(name string, cfg Config, opts Options) Report {
	r, _, _ := survey(name, cfg, opts)
	return r
}

// Inspect loads the plugin called name as a server with this configuration would, and says what it is.
func Inspect(name string, cfg Config, opts Options) Report {
	r, p, content := survey(name, cfg, opts)
	if r.Err == nil {
		r.Err = r.load(p, content, opts)
	}
	return r
}

func survey(name string, cfg Config, opts Options) (r Report, p *Plugin, content []byte) {
	module, there := cfg.Modules[name]
	if !there {
		module = defaultModule()
	}
	if p, r.Err = newPlugin(name, cfg.file(name), true, module, opts.Logger); r.Err != nil {
		return r, nil, nil
	}
	if content, r.Err = readModule(p.file); r.Err != nil {
		return r, nil, nil
	}
	r.Size, r.SHA256 = len(content), sha256.Sum256(content)
	r.Err = errors.Join(cfg.Validate(), r.admit(cfg, p, content), r.look(p, content))
	return r, p, content
}

func (r *Report) admit(cfg Config, p *Plugin, content []byte) error {
	keys, err := cfg.trustedKeys()
	if err != nil {
		return nil // Validate has said so
	}
	return (&Host{cfg: cfg, trusted: keys}).admit(p, content)
}

// look reads what a module says without being run.
func (r *Report) look(p *Plugin, content []byte) error {
	module, script, err := scriptIn(p.file, content)
	if err != nil {
		return err
	}
	r.Script = script != nil
	if err := checkHeader(module); err != nil {
		return err
	}
	r.Debug = debugBytes(module)
	ready, err := p.rewrite(module)
	if err != nil {
		return err
	}
	module, r.Metered = ready.module, len(ready.metered)
	var manifestErr error
	if r.Manifest, manifestErr = ReadManifest(module); manifestErr != nil {
		return manifestErr
	}

	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	compiled, err := rt.CompileModule(ctx, module)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	r.imports(compiled, p)
	return nil
}

// imports notes imports, exports, and the grants that the imports need.
func (r *Report) imports(compiled wazero.CompiledModule, p *Plugin) {
	r.Exports = exportNames(compiled)
	slices.Sort(r.Exports)
	var modules []string
	for _, f := range compiled.ImportedFunctions() {
		module, _, _ := f.Import()
		modules = append(modules, module)
	}
	slices.Sort(modules)
	for _, module := range slices.Compact(modules) {
		r.Imports = append(r.Imports, Import{module, importedFrom(compiled, module)})
	}
	if r.Script {
		return // the engine imports all there is
	}
	kinds, _ := kindsOf(compiled) // what is wrong with them, loading will say
	r.Kinds = r.Manifest.narrow(kinds)
	granted, err := newGrants(p.config.Allow)
	if err != nil {
		return // Validate has said so
	}
	x := &genExt{manifest: r.Manifest}
	_, handlesSockets := compiled.ExportedFunctions()[abi.WSOpen]
	for _, n := range namespaces() {
		if n.grant == "" || !imports(compiled, n.name) || n.name == abi.WSModule && handlesSockets {
			continue
		}
		r.Wants = append(r.Wants, Grant{n.grant, granted.has(n.grant), x.wish(n.grant)})
	}
}

// load makes a generation of the content, and closes it.
func (r *Report) load(p *Plugin, content []byte, opts Options) error {
	cache, err := openCache("", opts.Logger)
	if err != nil {
		return err
	}
	loader, err := newLoader(cache, &opts.Services)
	if err != nil {
		return err
	}
	loader.trace = opts.Trace
	began := time.Now()
	g, err := loader.load(p, content)
	r.Load = time.Since(began)
	if err != nil {
		return err
	}
	r.Kinds, r.Responds, r.NotCloned = g.ext.kinds, g.responds, g.notCloned
	err = r.measure(g)
	return errors.Join(err, g.close())
}

// measure looks at the memory of an instance.
func (r *Report) measure(g *generation) error {
	inst, err := g.pool.get(context.Background(), 0)
	if err != nil {
		return err
	}
	defer g.pool.put(inst)
	memory := inst.mod.Memory()
	r.Memory, r.Tables = uint64(memory.Size()), inst.tableBytes()
	const page = 4096
	for at := uint32(0); uint64(at) < r.Memory; at += page {
		b, _ := memory.Read(at, page)
		if slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
			r.Used += page
		}
	}
	return nil
}

// debugBytes counts the custom sections that hold names and debug information.
func debugBytes(module []byte) int {
	total := 0
	for rest := reader(module[8:]); len(rest) > 0; {
		id, err := rest.byte()
		if err != nil {
			return total
		}
		content, err := rest.bytes()
		if err != nil {
			return total
		}
		section := reader(content)
		if title, err := section.bytes(); id == sectionCustom && err == nil && (string(title) == "name" || strings.HasPrefix(string(title), ".debug")) {
			total += len(content)
		}
	}
	return total
}

// Grants is what the manifest asks for, as edge.yaml grants it.
func (m *Manifest) Grants() (Allow, error) {
	var a Allow
	fields := map[string]*[]string{"kv": &a.KV, "net": &a.Net, "env": &a.Env, "folders": &a.Folders, "publish": &a.Publish, "php": &a.PHP}
	for key, raw := range m.Allow {
		field, known := fields[key]
		if !known {
			return Allow{}, fmt.Errorf("its manifest asks for allow.%.32s, which does not exist: kv, net, env, folders, publish or php", key)
		}
		if err := json.Unmarshal(raw, field); err != nil {
			return Allow{}, fmt.Errorf("its manifest asks for allow.%s, which must be a list of texts: %w", key, err)
		}
	}
	return a, nil
}

// Tick calls the plugin's clock now.
func (p *Plugin) Tick(ctx context.Context) error { return p.tick(ctx, time.Now()) }
