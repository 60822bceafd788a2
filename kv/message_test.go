package kv_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/edge-server/edge/kv"
)

// reference is kv.v1 as protobuf's own implementation sees it.
var reference = buildReference()

func buildReference() protoreflect.FileDescriptor {
	field := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Type: &kind, Label: &label}
		if kind == descriptorpb.FieldDescriptorProto_TYPE_MESSAGE {
			f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			f.TypeName = proto.String(".kv.v1.Item")
		}
		return f
	}
	const (
		str = descriptorpb.FieldDescriptorProto_TYPE_STRING
		raw = descriptorpb.FieldDescriptorProto_TYPE_BYTES
		msg = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("kv.proto"), Package: proto.String("kv.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{field("storage", 1, str), field("items", 2, msg)}},
			{Name: proto.String("Response"), Field: []*descriptorpb.FieldDescriptorProto{field("items", 1, msg)}},
			{Name: proto.String("Item"), Field: []*descriptorpb.FieldDescriptorProto{
				field("key", 1, str), field("value", 2, raw), field("timeout", 3, str)}},
		},
	}, nil)
	if err != nil {
		panic(err)
	}
	return file
}

func newReference(name protoreflect.Name) *dynamicpb.Message {
	return dynamicpb.NewMessage(reference.Messages().ByName(name))
}

// itemsOf turns the repeated field of a reference message into ours.
func itemsOf(m *dynamicpb.Message) kv.Messages {
	list := m.Get(m.Descriptor().Fields().ByName("items")).List()
	var items kv.Messages
	for i := range list.Len() {
		item := list.Get(i).Message()
		f := item.Descriptor().Fields()
		items = append(items, kv.Message{
			Key:     item.Get(f.ByName("key")).String(),
			Value:   item.Get(f.ByName("value")).Bytes(),
			Timeout: item.Get(f.ByName("timeout")).String(),
		})
	}
	return items
}

var sameItems = cmp.Options{cmpopts.IgnoreUnexported(kv.Request{}), cmpopts.EquateEmpty()}

// agree decodes data both ways; the two must accept or refuse it alike and see the same.
func agree(t *testing.T, data []byte) {
	t.Helper()
	ours, theirs := new(kv.Request), newReference("Request")
	errOurs, errTheirs := ours.ParseProto(data), proto.Unmarshal(data, theirs)
	if (errOurs == nil) != (errTheirs == nil) {
		t.Fatalf("%x: we say %v, protobuf says %v", data, errOurs, errTheirs)
	}
	if errOurs != nil {
		return
	}
	want := kv.Request{
		Storage: theirs.Get(theirs.Descriptor().Fields().ByName("storage")).String(),
		Items:   itemsOf(theirs),
	}
	if diff := cmp.Diff(want, *ours, sameItems); diff != "" {
		t.Fatalf("%x decoded (-protobuf +ours):\n%s", data, diff)
	}

	again := newReference("Request")
	encoded := ours.AppendProto(nil)
	if err := proto.Unmarshal(encoded, again); err != nil {
		t.Fatalf("protobuf refuses what we encode, %x: %v", encoded, err)
	}
	again.SetUnknown(theirs.GetUnknown()) // we do not keep what we do not know
	theirs.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		for i := 0; f.IsList() && i < v.List().Len(); i++ {
			v.List().Get(i).Message().SetUnknown(nil)
		}
		return true
	})
	if !proto.Equal(theirs, again) {
		t.Fatalf("encoded as %v, want %v", again, theirs)
	}
}

func TestAgreesWithProtobuf(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		agree(t, randomRequest(rng).AppendProto(nil))
	}
}

func randomRequest(rng *rand.Rand) *kv.Request {
	text := func(limit int) string { return strings.Repeat("ж", rng.IntN(limit)) }
	req := &kv.Request{Storage: text(4)}
	for range rng.IntN(5) {
		req.Items = append(req.Items, kv.Message{Key: text(100), Value: make([]byte, rng.IntN(300)), Timeout: text(3)})
	}
	return req
}

func TestResponseAgreesWithProtobuf(t *testing.T) {
	t.Parallel()
	want := kv.Response{Items: kv.Messages{{Key: "a", Value: []byte("\x00\xff")}, {}, {Key: "b", Timeout: "2026-01-02T15:04:05+00:00"}}}
	theirs := newReference("Response")
	if err := proto.Unmarshal(want.AppendProto(nil), theirs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Items, itemsOf(theirs), sameItems); diff != "" {
		t.Errorf("protobuf decoded (-want +got):\n%s", diff)
	}
	data, err := proto.Marshal(theirs)
	if err != nil {
		t.Fatal(err)
	}
	var got kv.Response
	if err := got.ParseProto(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameItems); diff != "" {
		t.Errorf("we decoded (-want +got):\n%s", diff)
	}
}

func FuzzParseProto(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomRequest(rng).AppendProto(nil))
	}
	for _, s := range []string{"", "\x0a", "\x0a\x01\xff", "\x12\x00", "\x12\x02\x08\x01", "\x0b\x0c", "\x12\x80\x80\x80\x80\x08", "\x1a\x00", "\x08\x01", "\x00\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}

func TestTooManyItemsAreRefused(t *testing.T) {
	t.Parallel()
	const tooMany = 1<<17 + 1
	var req kv.Request
	if err := req.ParseProto(bytes.Repeat([]byte{0x12, 0x00}, tooMany)); err == nil || !strings.Contains(err.Error(), "more than 131072 items") {
		t.Errorf("protobuf with %d items: %v", tooMany, err)
	}
	list := `{"items":[{}` + strings.Repeat(",{}", tooMany-1) + `]}`
	if err := json.Unmarshal([]byte(list), &req); err == nil || !strings.Contains(err.Error(), "more than 131072 items") {
		t.Errorf("JSON with %d items: %v", tooMany, err)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	var req kv.Request
	in := `{"Storage":"s","ITEMS":[{"Key":"a","VALUE":"AP8=","timeout":"t"},{"key":"b"}]}`
	if err := json.Unmarshal([]byte(in), &req); err != nil {
		t.Fatal(err)
	}
	want := kv.Request{Storage: "s", Items: kv.Messages{{Key: "a", Value: []byte{0, 255}, Timeout: "t"}, {Key: "b"}}}
	if diff := cmp.Diff(want, req, sameItems); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	out, err := json.Marshal(kv.Response{Items: want.Items})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(out); got != `{"items":[{"key":"a","value":"AP8=","timeout":"t"},{"key":"b"}]}` {
		t.Errorf("encoded %s", got)
	}
	for _, bad := range []string{`{"items":{}}`, `{"items":[1]}`, `{"items":"x"}`, `{"items":[{"value":1}]}`} {
		if err := json.Unmarshal([]byte(bad), &req); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
	if err := json.Unmarshal([]byte(`{"items":null}`), &req); err != nil {
		t.Errorf("null items: %v", err)
	}
}
