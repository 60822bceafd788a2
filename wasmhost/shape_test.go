package wasmhost

import (
	"bytes"
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"
)

// parts of the minimal module, to be put together with others.
const (
	header    = "\x00asm\x01\x00\x00\x00"
	types     = "\x01\x0a\x02\x60\x00\x01\x7e\x60\x02\x7f\x7f\x00"
	functions = "\x03\x03\x02\x00\x01"
	memory    = "\x05\x03\x01\x00\x01"
	exports   = "\x07\x2d\x03\x06memory\x02\x00\x0ehandle_request\x00\x00\x0fhandle_response\x00\x01"
	code      = "\x0a\x09\x02\x04\x00\x42\x01\x0b\x02\x00\x0b"
	four      = "\xff\xff\xff\xff\x0f" // 4 294 967 295
)

func section(id byte, content string) string {
	return string(id) + string(binary.AppendUvarint(nil, uint64(len(content)))) + content
}

// TestCountsAreBounded: a file of a few bytes must not make the decoder ask for more memory than there is. Without the check,
// each row ends the process, or takes gigabytes.
func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	before := header + types + functions
	for name, tt := range map[string]struct{ module, want string }{
		"types":         {header + section(sectionType, four), "type section: 4294967295 items"},
		"parameters":    {header + section(sectionType, "\x01\x60"+four), "type section: item 0: 4294967295 items"},
		"imports":       {header + section(sectionImport, four), "import section: 4294967295 items"},
		"functions":     {header + section(sectionFunction, four), "function section"},
		"tables":        {header + section(sectionTable, four), "table section"},
		"table entries": {before + section(sectionTable, "\x01\x70\x00\x80\x80\x80\x40") + memory + exports + code, "table 0 begins with 134217728 entries"},
		"globals":       {header + section(sectionGlobal, four), "global section"},
		"exports":       {header + section(sectionExport, four), "export section"},
		"elements":      {header + section(sectionElement, four), "element section"},
		"element items": {header + section(sectionElement, "\x01\x00\x41\x00\x0b"+four), "element section: "},
		"code":          {header + section(sectionCode, four), "code section"},
		"locals":        {before + memory + exports + section(sectionCode, "\x02\x0a\x01\xf0\xff\xff\xff\x0f\x7e\x42\x01\x0b\x02\x00\x0b"), "local variables"},
		"data":          {header + section(sectionData, four), "data section"},
		"names":         {string(minimal) + section(sectionCustom, "\x04name\x01\x05"+four), "names of kind 1"},
		"local names":   {string(minimal) + section(sectionCustom, "\x04name\x02\x05"+four), "names of kind 2"},
		"hidden names":  {string(minimal) + section(sectionCustom, "\x04name\x01\x07\x00\x01\x06"+four), "names of kind 1"},
		"half a count":  {header + section(sectionFunction, "\x05\x00\x00"), "5 items in 2 bytes"},
		"a proposal":    {header + section(13, "\x00"), "13th section: malformed module: it belongs to a proposal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := l.load(p, []byte(tt.module))
			if err == nil {
				g.close()
				t.Fatal("the module was loaded")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestTablesAreBounded: every table gets a maximum, one that has a smaller one keeps it, and nothing else changes.
func TestTablesAreBounded(t *testing.T) {
	t.Parallel()
	bounded := "\x01\x01\xc0\x84\x3d" // limits with a maximum: 1, 1 000 000
	for given, want := range map[string]string{
		"\x01\x70\x00\x01":                     "\x01\x70" + bounded,
		"\x01\x70\x01\x01" + four:              "\x01\x70" + bounded,
		"\x01\x6f\x01\x01\x02":                 "\x01\x6f\x01\x01\x02",
		"\x02\x70\x01\x03\x03\x70\x00\x01":     "\x02\x70\x01\x03\x03\x70" + bounded,
		"\x01\x70\x01\x81\x80\x80\x80\x00\x05": "\x01\x70\x01\x01\x05",
	} {
		module := strings.Replace(string(minimal), memory, section(sectionTable, given)+memory, 1)
		got, _, err := boundModule([]byte(module))
		if err != nil {
			t.Errorf("%x: %v", given, err)
			continue
		}
		if want := strings.Replace(string(minimal), memory, section(sectionTable, want)+memory, 1); string(got) != want {
			t.Errorf("%x became %x, want %x", given, got, want)
		}
	}
	if got, _, err := boundModule(minimal); err != nil || !bytes.Equal(got, minimal) {
		t.Errorf("a module without tables became %x, %v", got, err)
	}
}

// TestDrainTakesWhatIsParkedLater: a guest that runs when the deadline passes, and then waits for the rest of the chain, does
// not keep its generation open.
func TestDrainTakesWhatIsParkedLater(t *testing.T) {
	t.Parallel()
	l, p := fuzzLoader(t)
	g, err := l.load(p, minimal)
	if err != nil {
		t.Fatal(err)
	}
	g.enter()
	inst, err := g.pool.get(context.Background(), 0)
	if err != nil {
		t.Fatal(err)
	}
	g.retire()
	stop := make(chan struct{})
	close(stop)
	drained := make(chan error)
	go func() { drained <- g.drain(stop, nil) }()
	select {
	case err := <-drained:
		t.Fatalf("drain = %v while a guest runs", err)
	case <-time.After(2 * reclaimEvery):
	}
	inst.park()
	select {
	case err := <-drained:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("drain waits for a request that is with the rest of the chain")
	}
	if inst.unpark() {
		t.Error("the request still has its instance")
	}
}
