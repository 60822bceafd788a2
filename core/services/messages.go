package services

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxEnv bounds the variables of one request.
const maxEnv = 1000

var (
	errTooManyVariables = fmt.Errorf("a service has at most %d variables", maxEnv)
	errNotUTF8          = errors.New("string field contains invalid UTF-8")
)

// field is one field of a message: bytes, or else a number.
type field struct {
	num    protowire.Number
	bytes  []byte // nil for a number
	number uint64
}

// eachField calls f for every field of a message that is bytes or a varint, and with the bits of a float; others are skipped.
func eachField(data []byte, f func(field) error) error {
	for len(data) > 0 {
		num, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		v, known := field{num: num}, true
		switch kind {
		case protowire.BytesType:
			if v.bytes, size = protowire.ConsumeBytes(data); v.bytes == nil {
				v.bytes = []byte{}
			}
		case protowire.VarintType:
			v.number, size = protowire.ConsumeVarint(data)
		case protowire.Fixed32Type:
			var bits uint32
			bits, size = protowire.ConsumeFixed32(data)
			v.number = uint64(bits)
		default:
			known, size = false, protowire.ConsumeFieldValue(num, kind, data)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		if !known {
			continue
		}
		if err := f(v); err != nil {
			return err
		}
	}
	return nil
}

// text stores a field that is bytes.
func (f field) text(into *string) error {
	if !utf8.Valid(f.bytes) {
		return errNotUTF8
	}
	*into = string(f.bytes)
	return nil
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func appendNumber(dst []byte, num protowire.Number, n uint64) []byte {
	if n == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), n)
}

func appendMessage(dst []byte, num protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), message)
}

// ParseProto implements rpc.ProtoMessage.
func (r *CreateRequest) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		if f.bytes != nil {
			switch f.num {
			case 1:
				return f.text(&r.Name)
			case 2:
				return f.text(&r.Command)
			case 6:
				return r.variable(f.bytes)
			}
			return nil
		}
		switch f.num {
		case 3:
			r.ProcessNum = int64(f.number)
		case 4:
			r.ExecTimeout = int64(f.number)
		case 5:
			r.RemainAfterExit = f.number != 0
		case 7:
			r.RestartSec = f.number
		case 8:
			r.ServiceNameInLog = f.number != 0
		case 9:
			r.TimeoutStopSec = f.number
		}
		return nil
	})
}

// variable is an entry of the map env.
func (r *CreateRequest) variable(data []byte) error {
	var name, value string
	err := eachField(data, func(f field) error {
		switch {
		case f.bytes == nil:
		case f.num == 1:
			return f.text(&name)
		case f.num == 2:
			return f.text(&value)
		}
		return nil
	})
	if r.Env == nil {
		r.Env = map[string]string{}
	}
	r.Env[name] = value
	if len(r.Env) > maxEnv {
		return errTooManyVariables
	}
	return err
}

// AppendProto implements rpc.ProtoMessage.
func (r *CreateRequest) AppendProto(dst []byte) []byte {
	dst = appendText(appendText(dst, 1, r.Name), 2, r.Command)
	dst = appendNumber(appendNumber(dst, 3, uint64(r.ProcessNum)), 4, uint64(r.ExecTimeout))
	dst = appendNumber(dst, 5, protowire.EncodeBool(r.RemainAfterExit))
	for _, name := range slices.Sorted(maps.Keys(r.Env)) {
		dst = appendMessage(dst, 6, appendText(appendText(nil, 1, name), 2, r.Env[name]))
	}
	dst = appendNumber(dst, 7, r.RestartSec)
	dst = appendNumber(dst, 8, protowire.EncodeBool(r.ServiceNameInLog))
	return appendNumber(dst, 9, r.TimeoutStopSec)
}

// ParseProto implements rpc.ProtoMessage.
func (n *Named) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		if f.num == 1 && f.bytes != nil {
			return f.text(&n.Name)
		}
		return nil
	})
}

// AppendProto implements rpc.ProtoMessage.
func (n *Named) AppendProto(dst []byte) []byte { return appendText(dst, 1, n.Name) }

// ParseProto implements rpc.ProtoMessage.
func (r *Response) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		switch {
		case f.num == 1 && f.bytes != nil:
			return f.text(&r.Message)
		case f.num == 2 && f.bytes == nil:
			r.OK = f.number != 0
		}
		return nil
	})
}

// AppendProto implements rpc.ProtoMessage.
func (r *Response) AppendProto(dst []byte) []byte {
	return appendNumber(appendText(dst, 1, r.Message), 2, protowire.EncodeBool(r.OK))
}

// ParseProto implements rpc.ProtoMessage.
func (s *Status) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		switch {
		case f.num == 1 && f.bytes == nil:
			s.CPUPercent = math.Float32frombits(uint32(f.number))
		case f.num == 2 && f.bytes == nil:
			s.PID = int32(f.number)
		case f.num == 3 && f.bytes == nil:
			s.MemoryUsage = f.number
		case f.num == 4 && f.bytes != nil:
			return f.text(&s.Command)
		case f.num == 5 && f.bytes != nil:
			s.Status = &Problem{}
			return s.Status.parseProto(f.bytes)
		}
		return nil
	})
}

// AppendProto implements rpc.ProtoMessage.
func (s *Status) AppendProto(dst []byte) []byte {
	if s.CPUPercent != 0 {
		dst = protowire.AppendFixed32(protowire.AppendTag(dst, 1, protowire.Fixed32Type), math.Float32bits(s.CPUPercent))
	}
	dst = appendNumber(appendNumber(dst, 2, uint64(s.PID)), 3, s.MemoryUsage)
	dst = appendText(dst, 4, s.Command)
	if s.Status != nil {
		dst = appendMessage(dst, 5, appendText(appendNumber(nil, 1, uint64(s.Status.Code)), 2, s.Status.Message))
	}
	return dst
}

func (p *Problem) parseProto(data []byte) error {
	return eachField(data, func(f field) error {
		switch {
		case f.num == 1 && f.bytes == nil:
			p.Code = int32(f.number)
		case f.num == 2 && f.bytes != nil:
			return f.text(&p.Message)
		}
		return nil
	})
}

// ParseProto implements rpc.ProtoMessage.
func (s *Statuses) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		if f.num != 1 || f.bytes == nil {
			return nil
		}
		s.Status = append(s.Status, &Status{})
		return s.Status[len(s.Status)-1].ParseProto(f.bytes)
	})
}

// AppendProto implements rpc.ProtoMessage.
func (s *Statuses) AppendProto(dst []byte) []byte {
	for _, one := range s.Status {
		dst = appendMessage(dst, 1, one.AppendProto(nil))
	}
	return dst
}

// ParseProto implements rpc.ProtoMessage.
func (l *List) ParseProto(data []byte) error {
	return eachField(data, func(f field) error {
		if f.num != 1 || f.bytes == nil {
			return nil
		}
		l.Services = append(l.Services, "")
		return f.text(&l.Services[len(l.Services)-1])
	})
}

// AppendProto implements rpc.ProtoMessage.
func (l *List) AppendProto(dst []byte) []byte {
	for _, name := range l.Services {
		dst = appendMessage(dst, 1, []byte(name))
	}
	return dst
}
