package wasmhost

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/edge-server/edge/wasmhost/meter"
)

// generation is one content of a plugin's file, loaded. It is immutable but for its instances and its count of requests:
//
//	load ──► serving ──► retired ──► drained ──► closed
//	           │ enter/leave: refs     │ refs = 0, or the deadline
//
// refs starts at 1, for being the current one; retire gives that one back, and nobody can enter once it is 0. Whoever uses an
// instance is counted, by enter or because the instance was: see pool.near.
type generation struct {
	number   uint64
	hash     [sha256.Size]byte
	config   string
	limits   Limits
	responds bool                           // handle_response does something
	wanted   atomic.Pointer[[]wantedHeader] // what instances have learned to lay on desks
	isolated bool                           // no request sees what another one left behind
	opens    bool                           // requests whose guest fails go on without it, as they came
	log      *guestLog
	pool     *pool

	code     *cacheEntry
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	script   *script // in the engine that module is; nil for a plugin that is itself the module
	machine  wazero.ModuleConfig
	info     meter.Info
	start    footprint
	pages    uint32 // of linear memory that an instance may have
	name     string

	// template is what new instances are copies of; nil if each has to be started, and notCloned says why.
	template  *template
	notCloned string

	cells cellLayout // of its instances

	ext genExt

	largest atomic.Uint64 // bytes of the largest memory of an instance

	refs    atomic.Int64
	drained chan struct{} // closed when refs is 0
}

// loader makes generations. Compiling is one at a time, as wazero recommends for a shared cache.
type loader struct {
	cache *compileCache
	hosts map[string]map[string]signature // what guests may import, by module and name
	wasi  map[string]api.FunctionDefinition
	mu    sync.Mutex // held while compiling

	namespaces []namespace
	services   *Services
	trace      Trace         // of Options
	wake       chan struct{} // for the host's keepTime; holds one
	variables  atomic.Bool   // some module sets variables of requests
}

func newLoader(cache *compileCache, services *Services) (*loader, error) {
	wasi, err := wasiFunctions(context.Background())
	if err != nil {
		return nil, err
	}
	l := &loader{wasi: wasi, cache: cache, namespaces: namespaces(), services: services, wake: make(chan struct{}, 1)}
	l.hosts = map[string]map[string]signature{wasiModule: signaturesOf(wasi)}
	for _, n := range l.namespaces {
		l.hosts[n.name] = n.signatures()
	}
	return l, nil
}

// load compiles a module, checks it and makes its first instances, so that what is broken is found before it serves.
func (l *loader) load(p *Plugin, content []byte) (*generation, error) {
	module, script, err := scriptIn(p.file, content)
	if err != nil {
		return nil, err
	}
	if err := checkHeader(module); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(content)
	ready, err := p.rewrite(module)
	if err != nil {
		return nil, err
	}
	g := &generation{
		script:   script,
		info:     ready.info,
		start:    ready.start,
		pages:    ready.pages,
		hash:     hash,
		config:   p.guestConfig,
		limits:   p.config.Limits,
		isolated: p.config.Isolation == IsolateRequest,
		opens:    p.config.OnError == OnErrorOpen,
		log:      p.guestLog,
		name:     p.name,
		drained:  make(chan struct{}),
	}
	g.ext.plugin = p
	g.machine = g.moduleConfig()
	g.refs.Store(1)
	g.pool = newPool(p.config.Instances, func() (*instance, error) { return newInstance(g) }, g.leave)

	if err := g.open(l, ready.module, mergeData(ready.metered)); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// rewritten is a module as it runs with a plugin's limits.
type rewritten struct {
	module  []byte // with bounds for its tables
	metered []byte // of module, with the counting
	info    meter.Info
	start   footprint
	pages   uint32 // of linear memory that an instance may have
}

// rewrite checks a module whose header is good, and makes of it what runs.
func (p *Plugin) rewrite(module []byte) (r rewritten, err error) {
	if r.module, r.start, err = boundModule(module); err != nil {
		return r, err
	}
	limit := p.config.Limits.Memory
	r.metered, r.info, err = meter.Rewrite(r.module, meter.Options{Globals: true, Limit: roomOf(limit), Entries: r.start.entries})
	if err != nil {
		return r, err
	}
	r.pages, err = r.start.pagesFor(p.name, limit, r.info.GrowsTables)
	return r, err
}

// open compiles metered, which is what runs instead of the module.
func (g *generation) open(l *loader, module, metered []byte) error {
	ctx := context.Background()
	if err := g.compile(ctx, l, metered); err != nil {
		return err
	}
	hosts := l.hosts
	if g.script != nil {
		hosts = withScript(hosts)
		if err := instantiateScript(ctx, g.runtime); err != nil {
			return fmt.Errorf("provide %s: %w", scriptModule, err)
		}
	}
	if err := g.openExt(ctx, l, hosts, module); err != nil {
		return err
	}
	if imports(g.compiled, wasiModule) {
		if err := instantiateWASI(ctx, g.runtime, l.wasi); err != nil {
			return fmt.Errorf("provide %s: %w", wasiModule, err)
		}
	}
	return g.firstInstances(module)
}

// compile falls back to a compiler without the cache when the cache is what fails: a full disk must not keep a plugin from
// loading.
func (g *generation) compile(ctx context.Context, l *loader, module []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(g.pages)

	var err error
	g.code = l.cache.acquire(sha256.Sum256(module))
	g.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithCompilationCache(g.code.CompilationCache))
	if g.compiled, err = g.runtime.CompileModule(ctx, module); err == nil {
		g.code.seal()
		return nil
	}
	if isCacheFailure(err) {
		g.log.out.Warn("the compile cache does not work; compiling without it", "error", err)
		_ = g.runtime.Close(ctx)
		g.runtime = wazero.NewRuntimeWithConfig(ctx, config)
		g.compiled, err = g.runtime.CompileModule(ctx, module)
	}
	if err != nil {
		g.compiled = nil
		return fmt.Errorf("compile: %w", err)
	}
	return nil
}

// firstInstances starts one instance, takes the template from it, and makes as many copies as there should be.
func (g *generation) firstInstances(module []byte) error {
	first, err := g.pool.get(context.Background(), 0)
	if err != nil {
		return err
	}
	if err := g.prepare(first, module); err != nil {
		g.pool.discard(first)
		return err
	}
	g.pool.put(first)
	if err := g.pool.fill(); err != nil {
		return err
	}
	return g.adopt()
}

func (g *generation) prepare(first *instance, module []byte) error {
	silent, err := first.noResponse()
	if err != nil {
		return err
	}
	g.responds = !silent && !emptyHandleResponse(module)
	if err := g.prepareExt(first); err != nil {
		return err
	}
	if err := first.warmUp(); err != nil {
		return err
	}
	g.template, g.notCloned, err = newTemplate(first)
	first.ext.reset()
	return err
}

// moduleConfig is what an instance gets to see of the machine: the real time, real randomness, and nothing else. wazero's
// defaults are a fixed seed and a clock that stands still.
func (g *generation) moduleConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName(""). // anonymous, so that there can be many
		WithArgs(g.name).
		WithStartFunctions(). // called by newInstance, one by one
		WithSysNanotime().
		WithSysNanosleep().
		WithOsyield(runtime.Gosched) // the wall clock and randomness are in instance.entropy
}

// clockResolution of the wall clock.
const clockResolution = sys.ClockResolution(time.Microsecond)

// enter counts a request in; it fails once the generation is drained.
func (g *generation) enter() bool {
	for {
		n := g.refs.Load()
		if n == 0 {
			return false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave counts a request out; the last one after retire lets the generation be closed.
func (g *generation) leave() {
	if g.refs.Add(-1) == 0 {
		close(g.drained)
	}
}

// lend gives an instance to who has entered. The count goes with it, or ends with an error.
func (g *generation) lend(ctx context.Context) (*instance, error) {
	if inst := g.pool.takeNear(); inst != nil {
		g.leave()
		return inst, nil
	}
	inst, err := g.pool.get(ctx, g.limits.Wait)
	if err != nil {
		g.leave()
	}
	return inst, err
}

// giveBack takes an instance back, and its count.
func (g *generation) giveBack(inst *instance) {
	if !g.pool.keepNear(inst) {
		g.pool.put(inst)
		g.leave()
	}
}

// discard closes an instance, and ends its count.
func (g *generation) discard(inst *instance) {
	g.pool.discard(inst)
	g.leave()
}

// recycle is giveBack for one whose request ended well.
func (g *generation) recycle(inst *instance) {
	inst.end()
	if inst.mod.IsClosed() || g.isolated && inst.restore() != nil { // closed: proc_exit(0), and returned nevertheless
		g.discard(inst)
		return
	}
	g.giveBack(inst)
}

// salvage is giveBack for one whose guest code was stopped somewhere in the middle: nobody sees its memory again.
func (g *generation) salvage(inst *instance) {
	inst.end()
	if inst.restore() != nil {
		g.discard(inst)
		return
	}
	g.giveBack(inst)
}

// retire takes the generation out of service. Call it once.
func (g *generation) retire() {
	g.pool.retire()
	g.leave()
}

// A drain past its deadline looks this often for instances that it may take.
const (
	reclaimEvery   = 50 * time.Millisecond
	reclaimSlowest = time.Second // when requests keep theirs for long
)

// errTaken is counted for a request that its instance was taken from.
var errTaken = errors.New("the content was replaced or the server stops, and a request that was still with a handler lost its handle_response")

// drain waits until the last request is out, or until stop, then closes. Past stop, instances that wait for the rest of
// the chain are taken from their requests, but for those that are needed for an answer that is held back; these are waited for, and
// guest code that runs at that moment, until giveUp.
func (g *generation) drain(stop, giveUp <-chan struct{}) error {
	select {
	case <-g.drained:
		return g.close()
	case <-stop:
	}
	every := reclaimEvery
	for told := false; ; { // a guest that runs now may pass its request on later, and wait then
		force := isClosed(giveUp)
		if g.reclaim(force, &told) {
			return g.close()
		}
		if force {
			return fmt.Errorf("generation %d: a guest is still running and cannot be closed", g.number)
		}
		select {
		case <-g.drained:
			return g.close()
		case <-giveUp:
		case <-time.After(every):
			every = min(2*every, reclaimSlowest)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// reclaim takes the instances of a generation past its time, says what became of their requests, and reports whether none is left.
// That some are left to answers it says until it was told.
func (g *generation) reclaim(force bool, told *bool) bool {
	p := g.ext.plugin
	taken, pinned, empty := g.pool.close(force)
	if taken > 0 && !force { // by force: each request says it, as it knows whether it has lost its answer
		p.counters.errors.Add(uint64(taken))
		p.noteError(errTaken)
		p.log.Warn("old content of the plugin was replaced too long ago: requests go on without handle_response", "generation", g.number, "requests", taken)
	}
	if pinned > 0 && !*told {
		*told = true
		p.log.Info("a request keeps old content of the plugin, as it needs it for its answer", "generation", g.number)
	}
	return empty
}

// close releases everything. Nobody may be inside.
func (g *generation) close() error {
	g.pool.close(true)
	var errs []error
	if g.compiled != nil {
		errs = append(errs, g.compiled.Close(context.Background()))
	}
	if g.runtime != nil {
		errs = append(errs, g.runtime.Close(context.Background()))
	}
	if g.code != nil {
		errs = append(errs, g.code.release())
	}
	g.ext.close()
	if g.template != nil {
		g.template.image.close()
	}
	return errors.Join(errs...)
}
