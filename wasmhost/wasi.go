package wasmhost

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// A guest pays for what a function of WASI works through for it, which is as much as it likes: the parameter at index
// says how much, for units of fuel per one of it. Those that are not here take no longer for larger parameters, or
// cannot be called with large ones: a path ends at the file system's limit.
var wasiPrices = map[string]struct {
	index int
	units uint64
}{
	"random_get":  {1, 2}, // bytes
	"fd_write":    {2, 8}, // buffers; what is in them pays lineWriter
	"fd_pwrite":   {2, 8},
	"fd_read":     {2, 8},
	"fd_pread":    {2, 8},
	"fd_readdir":  {2, 1},  // bytes
	"poll_oneoff": {2, 64}, // subscriptions
	"path_open":   {3, 1},  // bytes
}

// instantiateWASI provides WASI preview 1 with host calls counted, and with a proc_exit that can end main without ending
// the module.
func instantiateWASI(ctx context.Context, rt wazero.Runtime, functions map[string]api.FunctionDefinition) error {
	builder := rt.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	for name, f := range functions {
		call, ok := f.GoFunction().(api.GoModuleFunction)
		if !ok {
			return fmt.Errorf("%s.%s is not a function that can be wrapped: this version of wazero is unknown", wasiModule, name)
		}
		builder.NewFunctionBuilder().
			WithGoModuleFunction(wasiFunction(name, call), f.ParamTypes(), f.ResultTypes()).
			Export(name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// wasiFunction is a function of WASI that counts as a host call.
func wasiFunction(name string, call api.GoModuleFunction) api.GoModuleFunc {
	if name == "proc_exit" {
		return procExit
	}
	price, priced := wasiPrices[name]
	files := wasiFiles[name]
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		inst, ok := ctx.(*instance)
		if ok {
			inst.called()
			if priced {
				inst.spend(uint64(uint32(stack[price.index])) * price.units)
			}
		}
		if ok && files != nil {
			files(ctx, call, inst, mod, stack)
			return
		}
		call.Call(ctx, mod, stack)
	}
}

// wasiFunctions asks wazero what functions its WASI has.
func wasiFunctions(ctx context.Context) (map[string]api.FunctionDefinition, error) {
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer rt.Close(ctx)
	builder := rt.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder)
	compiled, err := builder.Compile(ctx)
	if err != nil {
		return nil, err
	}
	return compiled.ExportedFunctions(), nil
}

// signaturesOf are the types of functions.
func signaturesOf(functions map[string]api.FunctionDefinition) map[string]signature {
	signatures := map[string]signature{}
	for name, f := range functions {
		signatures[name] = signatureOf(f)
	}
	return signatures
}
