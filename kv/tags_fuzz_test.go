package kv

import "testing"

// FuzzUnseal: what others wrote into a shared server may look like an envelope. It is opened whole or not at all, and what was
// opened means the same when it is sealed again.
func FuzzUnseal(f *testing.F) {
	f.Add(sealed{tags: []string{"red", ""}, generations: []string{"1", "2"}, value: []byte("value")}.seal())
	for _, s := range []string{"", "\x00", "\x01", "\x02\x01a", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		f.Add([]byte(envelope + s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !isEnvelope(value) {
			return
		}
		e, ok := unseal(value)
		if !ok {
			return
		}
		again, ok := unseal(e.seal())
		if !ok || string(again.value) != string(e.value) || len(again.tags) != len(e.tags) || len(again.generations) != len(e.tags) {
			t.Errorf("%q opened is %+v, sealed and opened again %+v", value, e, again)
		}
		for i := range e.tags {
			if again.tags[i] != e.tags[i] || again.generations[i] != e.generations[i] {
				t.Errorf("tag %d of %q changed", i, value)
			}
		}
	})
}
