package kv

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxItems bounds the items of one request. An item takes two bytes on the wire and some hundred in memory, so without a
// bound a frame of 16 MiB would cost a gigabyte.
const maxItems = 1 << 17

// Fields of kv.v1: Request {1: storage, 2: items}, Response {1: items}, Item {1: key, 2: value, 3: timeout}.
const (
	requestStorage = 1
	requestItems   = 2
	responseItems  = 1
	itemKey        = 1
	itemValue      = 2
	itemTimeout    = 3
)

// Request is kv.v1.Request, the argument of every method.
//
// Values that ParseProto filled in are slices of its input, so the input must stay as it is until the request was served.
type Request struct {
	Storage string   `json:"storage,omitempty"`
	Items   Messages `json:"items,omitempty"`

	items   []Item // the batch given to the store; kept here to be used again
	storage string // that of the request before; a worker nearly always asks the same one, which saves the copy
}

// Response is kv.v1.Response, the answer of every method.
type Response struct {
	Items Messages `json:"items,omitempty"`
}

// Message is kv.v1.Item.
type Message struct {
	Key     string `json:"key,omitempty"`
	Value   []byte `json:"value,omitempty"`
	Timeout string `json:"timeout,omitempty"` // an absolute time in RFC 3339; empty means never
}

// Messages is a list of items that is bounded while JSON is decoded.
type Messages []Message

var (
	errTooManyItems = fmt.Errorf("more than %d items in one request", maxItems)
	errFieldNumber  = errors.New("invalid field number")
	errUTF8         = errors.New("string field contains invalid UTF-8")
)

// UnmarshalJSON decodes item by item and stops at the bound.
func (m *Messages) UnmarshalJSON(data []byte) error { return boundedJSON((*[]Message)(m), data) }

// ParseProto decodes data over what r holds, as protobuf messages are merged.
func (r *Request) ParseProto(data []byte) error {
	return fields(data, func(num protowire.Number, v []byte) (err error) {
		switch num {
		case requestStorage:
			if r.Storage = r.storage; string(v) != r.storage {
				r.Storage, err = text(v)
			}
		case requestItems:
			r.Items, err = appendItem(r.Items, v)
		}
		return err
	})
}

// AppendProto appends the encoded message to dst.
func (r *Request) AppendProto(dst []byte) []byte {
	dst = appendText(dst, requestStorage, r.Storage)
	return appendItems(dst, requestItems, r.Items)
}

// ParseProto decodes data over what r holds.
func (r *Response) ParseProto(data []byte) error {
	return fields(data, func(num protowire.Number, v []byte) (err error) {
		if num == responseItems {
			r.Items, err = appendItem(r.Items, v)
		}
		return err
	})
}

// AppendProto appends the encoded message to dst.
func (r *Response) AppendProto(dst []byte) []byte { return appendItems(dst, responseItems, r.Items) }

func appendItem(items Messages, data []byte) (Messages, error) {
	if len(items) == maxItems {
		return items, errTooManyItems
	}
	items = append(items, Message{})
	return items, items[len(items)-1].parse(data)
}

func (m *Message) parse(data []byte) error {
	return fields(data, func(num protowire.Number, v []byte) (err error) {
		switch num {
		case itemKey:
			m.Key = string(v) // any bytes: a key is no text
		case itemValue:
			m.Value = v[:len(v):len(v)]
		case itemTimeout:
			m.Timeout, err = text(v)
		}
		return err
	})
}

// size is the length of the encoded item without its own tag.
func (m *Message) size() int {
	return fieldSize(len(m.Key)) + fieldSize(len(m.Value)) + fieldSize(len(m.Timeout))
}

func appendItems(dst []byte, num protowire.Number, items Messages) []byte {
	room := 0
	for i := range items {
		room += 1 + protowire.SizeBytes(items[i].size())
	}
	dst = slices.Grow(dst, room) // growing step by step would take twice the memory of a large answer
	for i := range items {
		m := &items[i]
		dst = protowire.AppendTag(dst, num, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(m.size()))
		dst = appendText(dst, itemKey, m.Key)
		if len(m.Value) > 0 {
			dst = protowire.AppendTag(dst, itemValue, protowire.BytesType)
			dst = protowire.AppendBytes(dst, m.Value)
		}
		dst = appendText(dst, itemTimeout, m.Timeout)
	}
	return dst
}

func appendText(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendString(dst, s)
}

// fieldSize is the size of a field of n bytes. All field numbers of kv.v1 have tags of one byte; an empty field is left out.
func fieldSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

// fields calls each for every length-delimited field of a message. All known fields are such; a field with another wire type
// is unknown by definition, whatever its number, and skipped, as protobuf demands.
func fields(data []byte, each func(num protowire.Number, v []byte) error) error {
	for len(data) > 0 {
		num, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if num > protowire.MaxValidNumber {
			return errFieldNumber
		}
		data = data[n:]
		if kind != protowire.BytesType {
			n = protowire.ConsumeFieldValue(num, kind, data)
			if n < 0 {
				return protowire.ParseError(n)
			}
			data = data[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := each(num, v); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// text checks what proto3 demands of a string.
func text(v []byte) (string, error) {
	if !utf8.Valid(v) {
		return "", errUTF8
	}
	return string(v), nil
}
