package wasmhost

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const (
	// bornWith is how many files a guest has from the beginning, beside its folders: stdin, stdout, stderr.
	bornWith = 3

	// maxFiles is how many files and folders an instance may have open, beside its handles.
	maxFiles = 64

	// maxShare is how many descriptors all instances of a plugin may take together, generations that drain included. It is an
	// eighth of what the process may have, if that is less. All plugins together have half of what the process may.
	maxShare   = 1024
	sharePart  = 8
	sharesPart = 2

	// WASI's numbers for a file that is not open, for too many open files, of the process and of the system, and for a path that is
	// too long.
	wasiEBADF        = 8
	wasiEMFILE       = 33
	wasiENAMETOOLONG = 37
	wasiENFILE       = 41
)

// guestFiles are those that a guest has opened. One that has something open is neither copied nor put back: the engine keeps the
// table of its files, and it cannot be copied.
type guestFiles struct {
	open    []uint32
	folders []uint32 // of those that it was born with, which the engine opens once they are needed; they stay for all requests
	changed bool     // one that it was born with is closed, or another one is in its place
}

// untouched reports whether the guest has what it was born with and nothing else.
func (f *guestFiles) untouched() bool { return len(f.open) == 0 && !f.changed }

func (f *guestFiles) forget(fd uint32) bool { return remove(&f.open, fd) }

func remove(numbers *[]uint32, fd uint32) bool {
	n := slices.Index(*numbers, fd)
	if n >= 0 {
		*numbers = slices.Delete(*numbers, n, n+1)
	}
	return n >= 0
}

// bornFiles is the number of the first file that the guest may have opened itself.
func (i *instance) bornFiles() uint32 { return bornWith + uint32(len(i.gen.ext.folders)) }

// folderParams are the parameters of a function of WASI that may be folders which the engine opens for it.
func folderParams(name string) []int {
	switch name {
	case "fd_close", "fd_renumber", "fd_prestat_get", "fd_prestat_dir_name":
		return nil
	case "path_link":
		return []int{0, 4}
	case "path_rename":
		return []int{0, 3}
	case "path_symlink":
		return []int{2}
	}
	if strings.HasPrefix(name, "fd_") || strings.HasPrefix(name, "path_") {
		return []int{0}
	}
	return nil
}

// needFolders counts the folders that a call is about to have opened; false if there may be no more.
func (i *instance) needFolders(stack []uint64, params []int) bool {
	if len(i.gen.ext.folders) == 0 {
		return true
	}
	f := &i.files
	for _, param := range params {
		fd := uint32(stack[param])
		if fd < bornWith || fd >= i.bornFiles() || slices.Contains(f.folders, fd) || slices.Contains(f.open, fd) {
			continue
		}
		if !i.gen.ext.plugin.descriptors.take() {
			return false
		}
		f.folders = append(f.folders, fd)
	}
	return true
}

// opens is a function that opens a file, if there may be one more. It writes the number to the address in a parameter.
func opens(param int) wasiFile {
	return func(ctx context.Context, call api.GoModuleFunction, inst *instance, mod api.Module, stack []uint64) {
		openFile(ctx, call, inst, mod, stack, uint32(stack[param]))
	}
}

func openFile(ctx context.Context, call api.GoModuleFunction, inst *instance, mod api.Module, stack []uint64, at uint32) {
	budget := &inst.gen.ext.plugin.descriptors
	switch {
	case len(inst.files.open) >= maxFiles:
		stack[0] = wasiEMFILE
		return
	case !budget.take():
		stack[0] = wasiENFILE
		return
	}
	call.Call(ctx, mod, stack)
	fd, ok := uint32(0), false
	if uint32(stack[0]) == 0 {
		fd, ok = mod.Memory().ReadUint32Le(at)
	}
	if !ok {
		budget.give()
		return
	}
	inst.files.open = append(inst.files.open, fd)
}

func closeFile(ctx context.Context, call api.GoModuleFunction, inst *instance, mod api.Module, stack []uint64) {
	fd := uint32(stack[0])
	call.Call(ctx, mod, stack)
	if uint32(stack[0]) == 0 {
		inst.closed(fd)
	}
}

// closed notes that a number is free.
func (i *instance) closed(fd uint32) {
	file := i.files.forget(fd)
	if file || remove(&i.files.folders, fd) {
		i.gen.ext.plugin.descriptors.give()
	}
	i.files.changed = i.files.changed || !file // what the next request would miss
}

// renumberFile moves one file over another, which has to be open: the engine's table is as long as its largest number.
func renumberFile(ctx context.Context, call api.GoModuleFunction, inst *instance, mod api.Module, stack []uint64) {
	from, to := uint32(stack[0]), uint32(stack[1])
	if to >= inst.bornFiles() && !slices.Contains(inst.files.open, to) {
		stack[0] = wasiEBADF
		return
	}
	call.Call(ctx, mod, stack)
	if uint32(stack[0]) != 0 || from == to {
		return
	}
	if slices.Contains(inst.files.open, to) || to < inst.bornFiles() {
		inst.closed(to)
	}
	if inst.files.forget(from) {
		inst.files.open = append(inst.files.open, to)
	} else {
		inst.files.changed = true
	}
}

// wasiFile calls a function of WASI that changes what a guest has open. The errno is on the stack afterwards.
type wasiFile func(ctx context.Context, call api.GoModuleFunction, inst *instance, mod api.Module, stack []uint64)

var wasiFiles = map[string]wasiFile{
	"path_open":   opens(8),
	"sock_accept": opens(2),
	"fd_close":    closeFile,
	"fd_renumber": renumberFile,
}

// closeFiles is for an instance that ends: the engine closes the files.
func (i *instance) closeFiles() {
	for range len(i.files.open) + len(i.files.folders) {
		i.gen.ext.plugin.descriptors.give()
	}
	i.files.open, i.files.folders = nil, nil
}

// descriptors counts what the guests of a plugin have open: files, folders, and connections with those that are kept for later or not
// made yet.
type descriptors struct {
	open atomic.Int64
	most int64
	all  *descriptors // of all plugins together; nil for that one itself
}

// newDescriptors returns those that may have a part of what the process may, or most if that is less.
func newDescriptors(part, most int64) descriptors {
	if n, known := openFilesLimit(); known {
		most = max(min(most, n/part), 1)
	}
	return descriptors{most: most}
}

// take counts one more, if there may be one.
func (d *descriptors) take() bool {
	if d.all != nil && !d.all.take() {
		return false
	}
	if d.open.Add(1) > d.most {
		d.give()
		return false
	}
	return true
}

func (d *descriptors) give() {
	d.open.Add(-1)
	if d.all != nil {
		d.all.give()
	}
}

// refusal is for a guest whose plugin has as much open as it may.
func (d *descriptors) refusal() error {
	if d.all != nil && d.open.Load() < d.most {
		return refusal(abi.ErrLimit, "all plugins have %d files, folders and connections open together, which is all they may", d.all.most)
	}
	return refusal(abi.ErrLimit, "the instances of the plugin have %d files, folders and connections open together, which is all they may", d.most)
}
