package wasmhost

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"

	"github.com/edge-server/edge/sdk/abi"
)

// Kind is something that a module can be; it may be several.
type Kind uint8

const (
	KindMiddleware Kind = 1 << iota // and origin
	KindRouter
	KindKV
	KindWS
	KindCron
)

// kindExports are the exports that make a kind. All of a kind's required ones must be there once one of its own is.
var kindExports = []struct {
	kind     Kind
	name     string
	sig      string
	required bool
}{
	{KindMiddleware, abi.HandleRequest, ":I", true},
	{KindMiddleware, abi.HandleResponse, "ii:", true},
	{KindRouter, abi.Route, ":i", true},
	{KindKV, abi.KVABI, ":i", true},
	{KindKV, abi.KVOpen, "i:i", true},
	{KindKV, abi.KVGet, "i:i", true},
	{KindKV, abi.KVSet, "iiIiI:i", true},
	{KindKV, abi.KVDelete, "iI:i", true},
	{KindKV, abi.KVIncr, "iII:i", false},
	{KindKV, abi.KVExpire, "iI:i", false},
	{KindKV, abi.KVBatch, "i:i", false},
	{KindKV, abi.KVScan, "iii:i", false},
	{KindKV, abi.KVClear, ":i", false},
	{KindKV, abi.KVTick, "I:", false},
	{KindKV, abi.KVClose, ":", false},
	{KindKV, abi.KVClock, ":i", false},
	{KindWS, abi.WSOpen, "I:i", true},
	{KindWS, abi.WSMessage, "Iii:i", true},
	{KindWS, abi.WSClose, "Ii:", true},
	{KindCron, abi.Tick, "I:", true},
}

// otherExports may be in any module.
var otherExports = []struct{ name, sig string }{
	{abi.NoResponse, ":i"},
	{abi.Desk, ":i"},
	{abi.Mailbox, "i:I"},
	{abi.Configure, "i:i"},
}

var kindNames = []struct {
	kind Kind
	name string
}{{KindMiddleware, "middleware"}, {KindMiddleware, "origin"}, {KindRouter, "router"}, {KindKV, "kv"}, {KindWS, "ws"}, {KindCron, "cron"}}

// Has reports whether all kinds of other are in k.
func (k Kind) Has(other Kind) bool { return k&other == other }

// Names are those of the kinds in k.
func (k Kind) Names() []string {
	var names []string
	for _, n := range kindNames {
		if k.Has(n.kind) && n.name != "origin" {
			names = append(names, n.name)
		}
	}
	return names
}

func (k Kind) String() string {
	if k == 0 {
		return "nothing"
	}
	return strings.Join(k.Names(), ", ")
}

// kindsOf finds what the module is, from its exports, and what is wrong with them.
func kindsOf(m wazero.CompiledModule) (Kind, error) {
	var kinds Kind
	for _, e := range kindExports {
		if _, ok := m.ExportedFunctions()[e.name]; ok {
			kinds |= e.kind
		}
	}
	wanted := kinds
	if kinds == 0 {
		wanted = KindMiddleware // what most are meant to be
	}
	var errs []error
	for _, e := range kindExports {
		f, ok := m.ExportedFunctions()[e.name]
		switch want := parseSignature(e.sig); {
		case !wanted.Has(e.kind):
		case !ok && e.required:
			errs = append(errs, fmt.Errorf("export %q is missing: %s exports it as %s%s", e.name, article(e.kind), want, nearestHint(e.name, exportNames(m))))
		case ok && !signatureOf(f).equal(want):
			errs = append(errs, fmt.Errorf("export %q has the type %s and must have %s", e.name, signatureOf(f), want))
		}
	}
	for _, e := range otherExports {
		if f, ok := m.ExportedFunctions()[e.name]; ok {
			if want := parseSignature(e.sig); !signatureOf(f).equal(want) {
				errs = append(errs, fmt.Errorf("export %q has the type %s and must have %s", e.name, signatureOf(f), want))
			}
		} else if e.name == abi.Mailbox && kinds&(KindKV|KindWS) != 0 {
			errs = append(errs, fmt.Errorf("export %q is missing: %s exports it as %s", e.name, article(kinds&(KindKV|KindWS)), parseSignature(e.sig)))
		}
	}
	if _, program := m.ExportedFunctions()[abi.Start]; program && kinds == 0 {
		return 0, errProgram
	}
	return kinds, errors.Join(errs...)
}

// errProgram: it has main and nothing that a plugin has.
var errProgram = fmt.Errorf("this is a program, which runs from its %s to its end; a plugin exports functions that the server calls, such as %q: "+
	"build a library of it (Go: -buildmode=c-shared; Rust: --crate-type cdylib; C: -mexec-model=reactor; edge plugin new writes one that does)",
	abi.Start, abi.HandleRequest)

func article(k Kind) string {
	switch {
	case k.Has(KindMiddleware):
		return "an HTTP plugin"
	case k.Has(KindRouter):
		return "a router"
	case k.Has(KindKV):
		return "a KV driver"
	case k.Has(KindWS):
		return "a WebSocket handler"
	}
	return "a cron plugin"
}

// Kinds is what the plugin's current content is; 0 without one.
func (p *Plugin) Kinds() Kind {
	if g := p.current.Load(); g != nil {
		return g.ext.kinds
	}
	return 0
}

// checkGrants refuses a module that imports what edge.yaml does not grant it.
func checkGrants(m wazero.CompiledModule, p *Plugin, x *genExt) error {
	var errs []error
	for _, n := range x.namespaces {
		if n.grant == "" || !imports(m, n.name) || x.grants.has(n.grant) || n.name == abi.WSModule && x.kinds.Has(KindWS) {
			continue
		}
		errs = append(errs, fmt.Errorf("it imports %s (%s), which is not granted: write plugins: {modules: {%s: {allow: {%s: %s}}}} in edge.yaml",
			n.name, strings.Join(importedFrom(m, n.name), ", "), p.name, n.grant, x.wish(n.grant)))
	}
	return errors.Join(errs...)
}

// wish is what to grant: what the manifest asks for, or an example.
func (x *genExt) wish(key string) string {
	if wanted := x.manifest.wants(key); wanted != "" {
		return wanted
	}
	return grantExamples[key]
}

// importedFrom lists the functions that m imports from a module.
func importedFrom(m wazero.CompiledModule, name string) []string {
	var list []string
	for _, f := range m.ImportedFunctions() {
		if module, function, _ := f.Import(); module == name {
			list = append(list, function)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
