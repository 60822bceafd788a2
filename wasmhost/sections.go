package wasmhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/edge-server/edge/sdk/abi"
)

// Section ids of the binary format.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

var errMalformed = errors.New("malformed module")

// emptyHandleResponse reports whether the exported handle_response does nothing: its body is `end` or `return end`. Then an
// instance need not wait for the rest of the chain. Anything unexpected counts as "does something".
//
// It reads the few parts of the binary format that this needs:
//
//	module  = "\0asm" version section*        section = id:byte size:u32 content
//	import  = count (module:name name:name kind:byte desc)*
//	export  = count (name:name kind:byte index:u32)*
//	code    = count (size:u32 locals expr)*
func emptyHandleResponse(module []byte) bool {
	if len(module) < 8 {
		return false
	}
	var imported uint32
	index, exported := uint32(0), false
	for rest := reader(module[8:]); len(rest) > 0; {
		id, err := rest.byte()
		if err != nil {
			return false
		}
		content, err := rest.bytes()
		if err != nil {
			return false
		}
		switch id {
		case sectionImport:
			if imported, err = importedFunctions(content); err != nil {
				return false
			}
		case sectionExport:
			if index, exported, err = exportedFunction(content, abi.HandleResponse); err != nil {
				return false
			}
		case sectionCode:
			return exported && index >= imported && emptyBody(content, index-imported)
		}
	}
	return false
}

func importedFunctions(r reader) (uint32, error) {
	count, err := r.u32()
	functions := uint32(0)
	for range count {
		if err != nil {
			return 0, err
		}
		kind := byte(0)
		if kind, err = r.importKind(); err == nil && kind == 0 {
			functions++
		}
	}
	return functions, err
}

// importKind reads one import and returns what is imported.
func (r *reader) importKind() (byte, error) {
	for range 2 { // module, name
		if _, err := r.bytes(); err != nil {
			return 0, err
		}
	}
	kind, err := r.byte()
	if err != nil {
		return 0, err
	}
	switch kind {
	case 0: // function: type index
		_, err = r.u32()
	case 1: // table: element type, limits
		if _, err = r.byte(); err == nil {
			err = r.limits()
		}
	case 2: // memory: limits
		err = r.limits()
	case 3: // global: type, mutability
		_, err = r.take(2)
	default:
		err = errMalformed
	}
	return kind, err
}

func (r *reader) limits() error {
	flags, err := r.byte()
	if err == nil && flags > 1 {
		err = fmt.Errorf("%w: limits of kind %d belong to a proposal that Edge does not run (threads, 64-bit memory)", errMalformed, flags)
	}
	if err != nil {
		return err
	}
	if _, err = r.u32(); err == nil && flags&1 != 0 {
		_, err = r.u32()
	}
	return err
}

func exportedFunction(r reader, name string) (index uint32, found bool, err error) {
	count, err := r.u32()
	for range count {
		if err != nil {
			return 0, false, err
		}
		exported, err := r.bytes()
		if err != nil {
			return 0, false, err
		}
		kind, err := r.byte()
		if err != nil {
			return 0, false, err
		}
		index, err := r.u32()
		if err != nil {
			return 0, false, err
		}
		if kind == 0 && string(exported) == name {
			return index, true, nil
		}
	}
	return 0, false, err
}

func emptyBody(r reader, index uint32) bool {
	count, err := r.u32()
	if err != nil || index >= count {
		return false
	}
	for range index {
		if _, err := r.bytes(); err != nil {
			return false
		}
	}
	code, err := r.bytes()
	if err != nil {
		return false
	}
	body := reader(code)
	groups, err := body.u32()
	for range groups { // locals: a count and a type
		if err == nil {
			_, err = body.u32()
		}
		if err == nil {
			_, err = body.byte()
		}
		if err != nil {
			return false
		}
	}
	const end, ret, nop = "\x0b", "\x0f", "\x01"
	does := strings.TrimLeft(string(body), nop) // clang pads an empty function
	return err == nil && (does == end || does == ret+end)
}

// reader takes values off the front.
type reader []byte

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(*r) {
		return nil, errMalformed
	}
	taken := (*r)[:n]
	*r = (*r)[n:]
	return taken, nil
}

func (r *reader) byte() (byte, error) {
	b, err := r.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

// u32 reads a LEB128 number.
func (r *reader) u32() (uint32, error) {
	v, n := binary.Uvarint(*r)
	if n <= 0 || v > 1<<32-1 {
		return 0, errMalformed
	}
	*r = (*r)[n:]
	return uint32(v), nil
}

// bytes reads a length and that many bytes.
func (r *reader) bytes() ([]byte, error) {
	n, err := r.u32()
	if err != nil {
		return nil, err
	}
	return r.take(int(n))
}
