package rpc

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/edge-server/edge/internal/frame"
)

// sample is an argument with a field of every kind.
type sample struct {
	Name   string
	Value  float64
	Count  int64
	Labels []string
	Raw    []byte
	Inner  map[string]int
	Deep   []struct{ Key string }
}

// roundTrip decodes arg; what comes out must survive the codec unchanged.
func roundTrip(t *testing.T, codec byte, arg []byte, fresh func() any) {
	first := fresh()
	if decode(codec, arg, first) != nil {
		return
	}
	wire, err := encode(codec, nil, reflect.ValueOf(first).Elem().Interface())
	if err != nil {
		t.Fatalf("%#x: %+v came out of %q and does not go in: %v", codec, first, arg, err)
	}
	second := fresh()
	if err := decode(codec, wire, second); err != nil {
		t.Fatalf("%#x: our own %q for %+v: %v", codec, wire, first, err)
	}
	again, err := encode(codec, nil, reflect.ValueOf(second).Elem().Interface())
	if err != nil || len(again) != len(wire) {
		t.Fatalf("%#x: %+v became %+v: %v", codec, first, second, err)
	}
}

func fuzzCodec(f *testing.F, codec byte, seeds ...string) {
	for _, v := range []any{sample{Name: "a", Value: 1, Count: 2, Labels: []string{"x"}, Raw: []byte{1}, Inner: map[string]int{"k": 1}}, "text", true, int64(7)} {
		if wire, err := encode(codec, nil, v); err == nil {
			f.Add(wire)
		}
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		roundTrip(t, codec, arg, func() any { return new(sample) })
		roundTrip(t, codec, arg, func() any { return new(string) })
		roundTrip(t, codec, arg, func() any { return new([]byte) })
		roundTrip(t, codec, arg, func() any { return new(bool) })
	})
}

func FuzzJSON(f *testing.F) { fuzzCodec(f, frame.FlagJSON, `{"NAME":"x","labels":null}`, `[]`, `null`) }
func FuzzGob(f *testing.F)  { fuzzCodec(f, frame.FlagGob) }

// FuzzGobCheck holds the check against the encoder: what that writes is refused for its size alone.
func FuzzGobCheck(f *testing.F) {
	type inner struct{ Next []inner }
	for _, v := range []any{
		sample{Name: "a", Value: 1, Count: -2, Labels: []string{"x"}, Raw: []byte{1}, Inner: map[string]int{"k": 1}, Deep: []struct{ Key string }{{"k"}, {}}},
		"text", true, int64(-7), []byte("x"), []string{"", "x"}, [3]int{1}, map[string][]inner{"a": {{}, {[]inner{{}}}}}, complex(1, 2), time.Unix(1, 2),
		big.NewFloat(1.5),
	} {
		var wire bytes.Buffer
		if err := gob.NewEncoder(&wire).Encode(v); err != nil {
			f.Fatal(err)
		}
		if err := checkGob(wire.Bytes()); err != nil {
			f.Fatalf("%#v: %v", v, err)
		}
		f.Add(wire.Bytes())
	}
	f.Fuzz(func(t *testing.T, arg []byte) {
		_ = checkGob(arg) // it ends
		for _, fresh := range []any{new(sample), new(string), new(inner), new(map[string][]inner)} {
			if gob.NewDecoder(bytes.NewReader(arg)).Decode(fresh) != nil {
				continue
			}
			var wire bytes.Buffer
			if err := gob.NewEncoder(&wire).Encode(fresh); err != nil {
				t.Fatal(err)
			}
			if err := checkGob(wire.Bytes()); err != nil && !errors.Is(err, errGobDeep) && !errors.Is(err, errGobMany) {
				t.Fatalf("gob writes %x for %+v, and the check says %v", wire.Bytes(), fresh, err)
			}
		}
	})
}

// gobOf is a gob of a list of count structs without anything in them, a byte each.
func gobOf(t *testing.T, count int) []byte {
	type item struct{ Key string }
	type list struct{ Deep []item }
	var few bytes.Buffer
	if err := gob.NewEncoder(&few).Encode(list{make([]item, 3)}); err != nil {
		t.Fatal(err)
	}
	types, found := bytes.CutSuffix(few.Bytes(), []byte{1, 3, 0, 0, 0, 0})
	if !found {
		t.Fatalf("a gob that looks otherwise: %x", few.Bytes())
	}
	head, id := types[:len(types)-3], types[len(types)-2:] // between them is the length of the message
	value := append(append([]byte{}, id...), 1, 0xfc)
	value = binary.BigEndian.AppendUint32(value, uint32(count))
	value = append(value, make([]byte, count+1)...)
	return append(binary.BigEndian.AppendUint32(append(append([]byte{}, head...), 0xfc), uint32(len(value))), value...)
}

// FuzzRaw: bytes and texts are what they are.
func FuzzRaw(f *testing.F) {
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, arg []byte) {
		roundTrip(t, frame.FlagRaw, arg, func() any { return new(string) })
		roundTrip(t, frame.FlagRaw, arg, func() any { return new([]byte) })
		if err := decode(frame.FlagRaw, arg, new(sample)); (err == nil) != (len(arg) == 0) {
			t.Fatalf("%q as a struct: %v", arg, err)
		}
	})
}

// FuzzProto: what a ProtoMessage makes of bytes is its own affair; the codec asks nothing else.
func FuzzProto(f *testing.F) {
	f.Add([]byte("\x0a\x02hi"))
	f.Fuzz(func(t *testing.T, arg []byte) {
		m := new(quietMessage)
		if err := decode(frame.FlagProto, arg, m); err != nil {
			t.Fatal(err)
		}
		if out, err := encode(frame.FlagProto, []byte("x"), m); err != nil || !bytes.Equal(out[1:], arg) {
			t.Fatalf("%q became %q, %v", arg, out, err)
		}
		if decode(frame.FlagProto, arg, new(string)) != errNotProto {
			t.Fatal("a string is no message")
		}
	})
}

// FuzzMsgpack also holds the check against the decoder: what the check takes for whole, the decoder does, and the reverse.
func FuzzMsgpack(f *testing.F) {
	for _, seed := range []string{"\xc1", "\x91\x91\x90", "\xdd\xff\xff\xff\xff", "\xc7\x00\x05", "\xd6\xff\x00\x00\x00\x00", "\xdf\x00\x00\x00\x01\xa1k\xc0", "\xcb12345678"} {
		f.Add([]byte(seed))
	}
	fuzz := func(t *testing.T, arg []byte) {
		roundTrip(t, frame.FlagMsgpack, arg, func() any { return new(sample) })
		roundTrip(t, frame.FlagMsgpack, arg, func() any { return new(string) })
		roundTrip(t, frame.FlagMsgpack, arg, func() any { return new([]byte) })
		whole := checkMsgpack(arg)
		skipped := msgpack.NewDecoder(bytes.NewReader(arg)).Skip()
		if whole == nil && skipped != nil && !strings.Contains(skipped.Error(), "unknown code") {
			t.Fatalf("%x is whole, and the decoder says %v", arg, skipped)
		}
		if whole != nil && skipped == nil && !errors.Is(whole, errMsgpackDeep) && !errors.Is(whole, errMsgpackMany) && !errors.Is(whole, errMsgpackList) {
			t.Fatalf("the decoder reads %x, and the check says %v", arg, whole)
		}
	}
	f.Fuzz(fuzz)
}

// TestHostileArguments are such as would end a process that trusts them: levels without end, and lengths of what never comes.
func TestHostileArguments(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("\x91", 8<<20)
	for name, c := range map[string]struct {
		arg  string
		want error
	}{
		"levels":         {deep, errMsgpackDeep},
		"maps":           {strings.Repeat("\x81\xa1a", 4<<20), errMsgpackDeep},
		"in a field":     {"\x81\xa1x" + deep, errMsgpackDeep},
		"long array":     {"\xdd\xff\xff\xff\xff", errMsgpackShort},
		"long map":       {"\xdf\xff\xff\xff\xff", errMsgpackShort},
		"long text":      {"\xdb\xff\xff\xff\xff", errMsgpackShort},
		"many":           {"\xdf\x00\x10\x00\x00" + strings.Repeat("\xc0", 2<<20), errMsgpackMany},
		"a long list":    {"\xdd\x00\x20\x00\x00" + strings.Repeat("\xc0", 2<<20), errMsgpackList},
		"lists in lists": {"\xdc\x80\x00" + strings.Repeat("\x94\xc0\xc0\xc0\xc0", 1<<15), errMsgpackList},
		"nothing begins": {"\xc1", errMsgpackByte},
		"empty head":     {"\xdc\x00", errMsgpackShort},
	} {
		if err := decode(frame.FlagMsgpack, []byte(c.arg), new(sample)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := decode(frame.FlagJSON, []byte(strings.Repeat("[", 8<<20)), new(any)); err == nil {
		t.Error("JSON without end was read")
	}

	// Elements of a list cost a byte of the frame and a thousand times that in memory.
	if err := decode(frame.FlagGob, gobOf(t, maxItems), new(sample)); err != nil {
		t.Errorf("a long list in a gob: %v", err)
	}
	if err := decode(frame.FlagGob, gobOf(t, maxItems+1), new(sample)); !errors.Is(err, errGobMany) {
		t.Errorf("a list in a gob that is too long: %v", err)
	}

	// The same for gob: a type that contains itself, in a field that nobody asked for.
	type knot struct{ Next *knot }
	type wrapped struct{ Knot *knot }
	head := new(knot)
	for range 200_000 {
		head = &knot{head}
	}
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(wrapped{head}); err != nil {
		t.Fatal(err)
	}
	if err := decode(frame.FlagGob, wire.Bytes(), new(sample)); err == nil {
		t.Error("a gob of another type was read")
	}
}
