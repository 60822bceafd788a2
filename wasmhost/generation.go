package wasmhost

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/edge-server/edge/sdk/abi"
)

// generation is one content of a plugin's file, loaded. It is immutable but for its instances and its count of requests:
//
//	load ──► serving ──► retired ──► drained ──► closed
//	           │ enter/leave: refs     │ refs = 0, or the deadline
//
// refs starts at 1, for being the current one; retire gives that one back, and nobody can enter once it is 0.
type generation struct {
	number   uint64
	hash     [sha256.Size]byte
	config   string
	limits   Limits
	responds bool // handle_response does something
	log      *guestLog
	pool     *pool

	code     *cacheEntry
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	name     string

	refs    atomic.Int64
	drained chan struct{} // closed when refs is 0
}

// loader makes generations. Compiling is one at a time, as wazero recommends for a shared cache.
type loader struct {
	cache *compileCache
	hosts map[string]map[string]signature // what guests may import, by module and name
	mu    sync.Mutex                      // held while compiling
}

func newLoader(cache *compileCache) (*loader, error) {
	wasi, err := wasiSignatures()
	if err != nil {
		return nil, err
	}
	http := map[string]signature{}
	for _, f := range httpHandler {
		http[f.name] = f.signature()
	}
	return &loader{cache: cache, hosts: map[string]map[string]signature{abi.HostModule: http, wasiModule: wasi}}, nil
}

// load compiles a module, checks it and makes its first instances, so that what is broken is found before it serves.
func (l *loader) load(p *Plugin, module []byte) (*generation, error) {
	if err := checkHeader(module); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(module)
	module, err := boundModule(module)
	if err != nil {
		return nil, err
	}
	g := &generation{
		hash:    hash,
		config:  p.guestConfig,
		limits:  p.config.Limits,
		log:     p.guestLog,
		name:    p.name,
		drained: make(chan struct{}),
	}
	g.refs.Store(1)
	g.pool = newPool(p.config.Instances, func() (*instance, error) { return newInstance(g) })

	if err := g.open(l, module); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

func (g *generation) open(l *loader, module []byte) error {
	ctx := context.Background()
	if err := g.compile(ctx, l, module); err != nil {
		return err
	}
	if err := checkModule(g.compiled, l.hosts); err != nil {
		return err
	}
	if imports(g.compiled, abi.HostModule) {
		if err := instantiateHTTP(ctx, g.runtime); err != nil {
			return fmt.Errorf("provide %s: %w", abi.HostModule, err)
		}
	}
	if imports(g.compiled, wasiModule) {
		if err := instantiateWASI(ctx, g.runtime); err != nil {
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
	pages := uint32(min(g.limits.Memory/pageSize, 65536))
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(pages)

	var err error
	g.code = l.cache.acquire(g.hash)
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
		return fmt.Errorf("compile (limits.memory is %s): %w", g.limits.Memory, err)
	}
	return nil
}

func (g *generation) firstInstances(module []byte) error {
	first, err := g.pool.get(context.Background(), 0)
	if err != nil {
		return err
	}
	silent, err := first.noResponse()
	if err != nil {
		g.pool.discard(first)
		return err
	}
	g.responds = !silent && !emptyHandleResponse(module)
	g.pool.put(first)
	return g.pool.fill()
}

// moduleConfig is what an instance gets to see of the machine: the real time, real randomness, and nothing else. wazero's
// defaults are a fixed seed and a clock that stands still.
func (g *generation) moduleConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName(""). // anonymous, so that there can be many
		WithArgs(g.name).
		WithStartFunctions(). // called by newInstance, one by one
		WithSysWalltime().
		WithSysNanotime().
		WithSysNanosleep().
		WithOsyield(runtime.Gosched).
		WithRandSource(rand.Reader)
}

// instantiateWASI provides WASI preview 1 with a proc_exit that can end main without ending the module.
func instantiateWASI(ctx context.Context, rt wazero.Runtime) error {
	builder := rt.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder)
	builder.NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(procExit), []api.ValueType{i32}, nil).
		Export("proc_exit")
	_, err := builder.Instantiate(ctx)
	return err
}

// wasiSignatures asks wazero what functions its WASI has.
func wasiSignatures() (map[string]signature, error) {
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	builder := rt.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder)
	compiled, err := builder.Compile(ctx)
	if err != nil {
		return nil, errors.Join(err, rt.Close(ctx))
	}
	signatures := map[string]signature{}
	for name, f := range compiled.ExportedFunctions() {
		signatures[name] = signatureOf(f)
	}
	return signatures, errors.Join(compiled.Close(ctx), rt.Close(ctx))
}

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

// retire takes the generation out of service. Call it once.
func (g *generation) retire() { g.leave() }

// reclaimEvery is how often a drain past its deadline looks for instances that it may take.
const reclaimEvery = 50 * time.Millisecond

// drain waits until the last request is out, or until stop, then closes. Past stop, instances that wait for the rest of
// the chain are taken from their requests; only guest code that runs at that moment is waited for, until giveUp.
func (g *generation) drain(stop, giveUp <-chan struct{}) error {
	select {
	case <-g.drained:
		return g.close()
	case <-stop:
	}
	again := time.NewTicker(reclaimEvery)
	defer again.Stop()
	for !g.pool.close() { // a guest that runs now may pass its request on later, and wait then
		select {
		case <-g.drained:
			return g.close()
		case <-giveUp:
			return fmt.Errorf("generation %d: a guest is still running and cannot be closed", g.number)
		case <-again.C:
		}
	}
	return g.close()
}

// close releases everything. Nobody may be inside.
func (g *generation) close() error {
	g.pool.close()
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
	return errors.Join(errs...)
}
