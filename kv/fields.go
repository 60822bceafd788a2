package kv

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of a message: either bytes, or a number.
type field struct {
	num    protowire.Number
	kind   protowire.Type
	data   []byte
	number uint64
}

func (f field) wants(kind protowire.Type) error {
	if f.kind != kind {
		return fmt.Errorf("field %d has the wire type %d, not %d", f.num, f.kind, kind)
	}
	return nil
}

func (f field) text() (string, error) {
	if err := f.wants(protowire.BytesType); err != nil {
		return "", err
	}
	return text(f.data)
}

// raw is a text that may have any bytes: keys, tags and members are the client's.
func (f field) raw() (string, error) { return string(f.data), f.wants(protowire.BytesType) }

func (f field) message() ([]byte, error) { return f.data, f.wants(protowire.BytesType) }

func (f field) bytes(to *[]byte) error {
	*to = f.data[:len(f.data):len(f.data)]
	return f.wants(protowire.BytesType)
}

func (f field) int(to *int64) error {
	*to = int64(f.number)
	return f.wants(protowire.VarintType)
}

func (f field) bool(to *bool) error {
	*to = f.number != 0
	return f.wants(protowire.VarintType)
}

func (f field) double(to *float64) error {
	*to = math.Float64frombits(f.number)
	return f.wants(protowire.Fixed64Type)
}

// eachField calls each for every field of a message. A known field with the wrong wire type is an error: it comes from a mistake.
func eachField(data []byte, each func(field) error) error {
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num > protowire.MaxValidNumber {
			return errFieldNumber
		}
		data = data[n:]
		f := field{num: num, kind: kind}
		switch kind {
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			f.number, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			f.number, n = protowire.ConsumeFixed64(data)
		default:
			n = protowire.ConsumeFieldValue(num, kind, data)
			f.num = 0 // unknown, whatever its number
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// writer appends the fields that are not zero.
type writer struct{ dst []byte }

func (w *writer) text(num protowire.Number, s string) {
	if s != "" {
		w.dst = protowire.AppendString(protowire.AppendTag(w.dst, num, protowire.BytesType), s)
	}
}

// bytes leaves out what is empty unless always is set, as it is for messages.
func (w *writer) bytes(num protowire.Number, b []byte, always ...bool) {
	if len(b) > 0 || len(always) > 0 {
		w.dst = protowire.AppendBytes(protowire.AppendTag(w.dst, num, protowire.BytesType), b)
	}
}

func (w *writer) int(num protowire.Number, n int64) {
	if n != 0 {
		w.dst = protowire.AppendVarint(protowire.AppendTag(w.dst, num, protowire.VarintType), uint64(n))
	}
}

func (w *writer) bool(num protowire.Number, b bool) {
	if b {
		w.int(num, 1)
	}
}

func (w *writer) double(num protowire.Number, f float64) {
	if f != 0 {
		w.bound(num, &f)
	}
}

func (w *writer) bound(num protowire.Number, f *float64) {
	if f != nil {
		w.dst = protowire.AppendFixed64(protowire.AppendTag(w.dst, num, protowire.Fixed64Type), math.Float64bits(*f))
	}
}

func (w *writer) texts(num protowire.Number, list []string) {
	for _, s := range list {
		w.dst = protowire.AppendString(protowire.AppendTag(w.dst, num, protowire.BytesType), s)
	}
}

func (w *writer) ranked(num protowire.Number, list []Ranked) {
	for _, m := range list {
		inner := writer{}
		inner.text(1, m.Member)
		inner.double(2, m.Score)
		w.bytes(num, inner.dst, true)
	}
}
