package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/js"
)

// A script is a plugin in JavaScript: a .js file. It runs in the engine of sdk/js, which is a module like any other but for the
// three functions of edge_script_v1, by which it gets the text and says what is wrong with it. All scripts share the engine's
// compiled code; each has instances of its own, in which the text is compiled when they start.
type script struct {
	name   string // as it is in errors: hello.js
	source string
}

const (
	scriptModule    = "edge_script_v1"
	scriptExtension = ".js"
)

// scriptKinds is what the engine answers with the functions that a script has, as bits.
const scriptKinds = "edge_script_kinds"

var scriptKindBits = []Kind{KindMiddleware, KindMiddleware, KindRouter, KindCron, KindWS, KindKV} // request, response, route, tick, websocket, kv

// splitExtension tells a plugin's name from the extension of its file; ok is false for files that are no plugins.
func splitExtension(base string) (name, ext string, ok bool) {
	ext = filepath.Ext(base)
	return strings.TrimSuffix(base, ext), ext, ext == extension || ext == scriptExtension
}

// dropped is where the plugin called name lies in the folder: a module, unless there is only a script.
func (c Config) dropped(name string) string {
	module, script := filepath.Join(c.Dir, name+extension), filepath.Join(c.Dir, name+scriptExtension)
	if stat(module) == nil && stat(script) != nil {
		return script
	}
	return module
}

// scriptIn returns the module to load for a plugin's file and, if that holds a script, the script.
func scriptIn(file string, content []byte) (module []byte, s *script, err error) {
	if filepath.Ext(file) != scriptExtension {
		return content, nil, nil
	}
	if !utf8.Valid(content) {
		return nil, nil, fmt.Errorf("%s is not UTF-8 text", filepath.Base(file))
	}
	if len(content) == 0 {
		return nil, nil, errors.New("the file is empty")
	}
	return js.Engine(), &script{name: filepath.Base(file), source: string(content)}, nil
}

// scriptError is what a script threw, with the place.
type scriptError string

func (e scriptError) Error() string { return string(e) }

// scriptFunctions of edge_script_v1.
var scriptFunctions = []hostFunction{
	{"source", 2, []api.ValueType{i32}, func(i *instance, mem api.Memory, stack []uint64) { writeString(mem, stack, i.gen.script.source) }},
	{"name", 2, []api.ValueType{i32}, func(i *instance, mem api.Memory, stack []uint64) { writeString(mem, stack, i.gen.script.name) }},
	{"fail", 2, nil, func(_ *instance, mem api.Memory, stack []uint64) {
		panic(scriptError(printable(guestMemory(mem, "message", uint32(stack[0]), uint32(stack[1])))))
	}},
}

// withScript is what the engine may import: all that any guest may, and edge_script_v1.
func withScript(hosts map[string]map[string]signature) map[string]map[string]signature {
	all := maps.Clone(hosts)
	all[scriptModule] = map[string]signature{}
	for _, f := range scriptFunctions {
		all[scriptModule][f.name] = f.signature()
	}
	return all
}

func instantiateScript(ctx context.Context, rt wazero.Runtime) error {
	builder := rt.NewHostModuleBuilder(scriptModule)
	for _, f := range scriptFunctions {
		call := f.call
		builder.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
			call(ctx.(*instance), mod.Memory(), stack)
		}), f.signature().params, f.results).Export(f.name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// kinds asks the engine, which exports all there is, what the script is.
func (s *script) kinds(inst *instance) (Kind, error) {
	results := [1]uint64{}
	if err := inst.runOnce(inst.mod.ExportedFunction(scriptKinds), results[:]); err != nil { // getters of the script run in it
		return 0, inst.startError("call "+scriptKinds, err)
	}
	var kinds Kind
	for bit, kind := range scriptKindBits {
		if results[0]&(1<<bit) != 0 {
			kinds |= kind
		}
	}
	return kinds, nil
}
