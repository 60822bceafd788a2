package core

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// What the small services of RoadRunner's RPC say: status.v1 and applogger.v1.

// statusRequest is status.v1.Request{1: plugin}.
type statusRequest struct {
	Plugin string `json:"plugin"`
}

// statusResponse is status.v1.Response{1: code, 2: message}.
type statusResponse struct {
	Code    int64  `json:"code"`
	Message string `json:"message"`
}

// logEntry is applogger.v1.LogEntry{1: message, 2: repeated log_attrs}.
type logEntry struct {
	Message  string    `json:"message"`
	LogAttrs []logAttr `json:"log_attrs"`
}

// logAttr is applogger.v1.LogAttrs{1: key, 2: value}.
type logAttr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// logResponse is applogger.v1.Response{}.
type logResponse struct{}

// maxLogAttrs bounds what one record carries.
const maxLogAttrs = 1000

var (
	errTooManyAttrs = errors.New("a log record has at most 1000 attributes")
	errNotUTF8      = errors.New("string field contains invalid UTF-8")
)

func (r *statusRequest) ParseProto(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) (err error) {
		if num == 1 && v != nil {
			r.Plugin, err = protoText(v)
		}
		return err
	})
}

func (r *statusRequest) AppendProto(dst []byte) []byte { return appendProtoText(dst, 1, r.Plugin) }

func (r *statusResponse) ParseProto(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, n uint64) (err error) {
		switch {
		case num == 1 && v == nil:
			r.Code = int64(n)
		case num == 2 && v != nil:
			r.Message, err = protoText(v)
		}
		return err
	})
}

func (r *statusResponse) AppendProto(dst []byte) []byte {
	if r.Code != 0 {
		dst = protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), uint64(r.Code))
	}
	return appendProtoText(dst, 2, r.Message)
}

func (l *logEntry) ParseProto(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) (err error) {
		switch {
		case v == nil:
		case num == 1:
			l.Message, err = protoText(v)
		case num == 2 && len(l.LogAttrs) >= maxLogAttrs:
			return errTooManyAttrs
		case num == 2:
			var a logAttr
			err = a.parseProto(v)
			l.LogAttrs = append(l.LogAttrs, a)
		}
		return err
	})
}

func (l *logEntry) AppendProto(dst []byte) []byte {
	dst = appendProtoText(dst, 1, l.Message)
	for _, a := range l.LogAttrs {
		dst = protowire.AppendTag(dst, 2, protowire.BytesType)
		dst = protowire.AppendBytes(dst, appendProtoText(appendProtoText(nil, 1, a.Key), 2, a.Value))
	}
	return dst
}

func (a *logAttr) parseProto(data []byte) error {
	return eachField(data, func(num protowire.Number, v []byte, _ uint64) (err error) {
		switch {
		case v == nil:
		case num == 1:
			a.Key, err = protoText(v)
		case num == 2:
			a.Value, err = protoText(v)
		}
		return err
	})
}

func (*logResponse) ParseProto([]byte) error       { return nil }
func (*logResponse) AppendProto(dst []byte) []byte { return dst }

func appendProtoText(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func protoText(v []byte) (string, error) {
	if !utf8.Valid(v) {
		return "", errNotUTF8
	}
	return string(v), nil
}

// eachField calls f for every field of a message that is bytes (v) or a varint (n, with v nil); others are skipped.
func eachField(data []byte, f func(num protowire.Number, v []byte, n uint64) error) error {
	for len(data) > 0 {
		num, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		var v []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(data)
		default:
			size = protowire.ConsumeFieldValue(num, kind, data)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		data = data[size:]
		if kind == protowire.BytesType || kind == protowire.VarintType {
			if v == nil && kind == protowire.BytesType {
				v = []byte{}
			}
			if err := f(num, v, n); err != nil {
				return err
			}
		}
	}
	return nil
}
