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
// cannot be called with large ones: see wasiPaths.
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
}

// wasiPaths are the parameters that say how long a path is. The engine copies and cleans it before it asks a file system.
var wasiPaths = map[string][]int{
	"path_create_directory":   {2},
	"path_filestat_get":       {3},
	"path_filestat_set_times": {3},
	"path_link":               {3, 6},
	"path_open":               {3},
	"path_readlink":           {2},
	"path_remove_directory":   {2},
	"path_rename":             {2, 5},
	"path_symlink":            {1, 4},
	"path_unlink_file":        {2},
}

// maxPath is as long as paths are on Linux.
const maxPath = 4096

// wasiRead is where a function writes how many bytes it has read.
var wasiRead = map[string]int{"fd_read": 3, "fd_pread": 4}

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
	files, folders, paths := wasiFiles[name], folderParams(name), wasiPaths[name]
	if at, reads := wasiRead[name]; reads {
		call = paidRead(call, at)
	}
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		inst, ok := ctx.(*instance)
		if ok {
			inst.called()
			if priced {
				inst.spend(uint64(uint32(stack[price.index])) * price.units)
			}
		}
		for _, length := range paths {
			if uint32(stack[length]) > maxPath {
				stack[0] = wasiENAMETOOLONG
				return
			}
		}
		if ok && !inst.needFolders(stack, folders) {
			stack[0] = wasiENFILE
			return
		}
		if ok && files != nil {
			files(ctx, call, inst, mod, stack)
			return
		}
		call.Call(ctx, mod, stack)
	}
}

// paidRead is a function that reads, whose bytes the guest pays for; their number is at the address in a parameter.
func paidRead(call api.GoModuleFunction, param int) api.GoModuleFunc {
	return func(ctx context.Context, mod api.Module, stack []uint64) {
		at := uint32(stack[param])
		call.Call(ctx, mod, stack)
		inst, ok := ctx.(*instance)
		if !ok || uint32(stack[0]) != 0 {
			return
		}
		if n, ok := mod.Memory().ReadUint32Le(at); ok {
			inst.spendBytes(int(n))
		}
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
