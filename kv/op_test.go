package kv_test

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/kv"
)

var sameOps = cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreUnexported(kv.Op{})}

func fullOp() *kv.Op {
	low, high := math.Inf(-1), 0.0
	return &kv.Op{
		Storage: "main", Op: "Get", Key: "ключ", Value: []byte{0, 255}, TTL: -1, KeepTTL: true, Delta: math.MinInt64, Version: math.MaxInt64,
		Absent: true, Expected: []byte("x"), Token: "t", Lease: 5, Wait: 6, Prefix: "p", Cursor: "c", Limit: 7, Member: "m",
		Members: kv.RankList{{Member: "a", Score: -1.5}, {}, {Member: "b"}}, By: 0.25, Start: -3, Stop: 9, Reverse: true, ByScore: true,
		Min: &low, Max: &high, Tags: kv.TextList{"one", "", "two"}, Ops: kv.OpList{{Op: "Put", Key: "k"}, {}},
	}
}

func fullResult() *kv.Result {
	return &kv.Result{
		OK: true, Found: true, Value: []byte("v"), Version: 3, TTL: 4, Number: -5, Score: 6.5, Keys: kv.TextList{"a", ""}, Cursor: "c",
		Members: kv.RankList{{Member: "m", Score: math.Inf(1)}}, Token: "t", Fence: 7, Error: "e",
		Results: []kv.Result{{OK: true, Number: 1}, {}, {Error: "no"}},
		Stats: &kv.StatsMsg{Driver: "memory", Keys: 1, Bytes: 2, MaxBytes: 3, Hits: 4, Misses: 5, Sets: 6, Refused: 7, Expired: 8,
			Evicted: math.MaxUint64, Can: kv.TextList{"update"}},
	}
}

// schema builds the messages that docs/kv.md documents.
func schema(t testing.TB) protoreflect.FileDescriptor {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs/kv.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```proto\n")
	block, _, found := strings.Cut(block, "```")
	if !found {
		t.Fatal("docs/kv.md has no protobuf block")
	}
	scalar := map[string]descriptorpb.FieldDescriptorProto_Type{
		"string": descriptorpb.FieldDescriptorProto_TYPE_STRING, "bytes": descriptorpb.FieldDescriptorProto_TYPE_BYTES,
		"bool": descriptorpb.FieldDescriptorProto_TYPE_BOOL, "int64": descriptorpb.FieldDescriptorProto_TYPE_INT64,
		"uint64": descriptorpb.FieldDescriptorProto_TYPE_UINT64, "double": descriptorpb.FieldDescriptorProto_TYPE_DOUBLE,
	}
	file := &descriptorpb.FileDescriptorProto{Name: new("kv.proto"), Package: new("doc"), Syntax: new("proto3")}
	for _, m := range regexp.MustCompile(`(?s)message (\w+) \{(.*?)\n?\}`).FindAllStringSubmatch(block, -1) {
		message := &descriptorpb.DescriptorProto{Name: new(m[1])}
		for _, f := range regexp.MustCompile(`(optional |repeated )?(\w+) (\w+) = (\d+);`).FindAllStringSubmatch(m[2], -1) {
			number, _ := strconv.Atoi(f[4])
			field := &descriptorpb.FieldDescriptorProto{Name: new(f[3]), Number: new(int32(number)), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			if f[1] == "repeated " {
				field.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			}
			if f[1] == "optional " {
				field.Proto3Optional, field.OneofIndex = new(true), new(int32(len(message.OneofDecl)))
				message.OneofDecl = append(message.OneofDecl, &descriptorpb.OneofDescriptorProto{Name: new("_" + f[3])})
			}
			if kind, ok := scalar[f[2]]; ok {
				field.Type = kind.Enum()
			} else {
				field.Type, field.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), new(".doc."+f[2])
			}
			message.Field = append(message.Field, field)
		}
		file.MessageType = append(file.MessageType, message)
	}
	built, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// TestOpsAgreeWithProtobuf: the messages are those that docs/kv.md says, in both directions, and no field is forgotten.
func TestOpsAgreeWithProtobuf(t *testing.T) {
	t.Parallel()
	file := schema(t)
	for _, c := range []struct {
		name  string
		full  interface{ AppendProto([]byte) []byte }
		empty interface {
			AppendProto([]byte) []byte
			ParseProto([]byte) error
		}
	}{{"Op", fullOp(), new(kv.Op)}, {"Result", fullResult(), new(kv.Result)}} {
		theirs := dynamicpb.NewMessage(file.Messages().ByName(protoreflect.Name(c.name)))
		if err := proto.Unmarshal(c.full.AppendProto(nil), theirs); err != nil {
			t.Fatal(err)
		}
		if unknown := theirs.GetUnknown(); len(unknown) > 0 {
			t.Errorf("%s: protobuf does not know the fields %x", c.name, unknown)
		}
		fields := theirs.Descriptor().Fields()
		for i := range fields.Len() {
			if !theirs.Has(fields.Get(i)) {
				t.Errorf("%s: the field %s is not encoded", c.name, fields.Get(i).Name())
			}
		}
		data, err := proto.Marshal(theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.empty.ParseProto(data); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.full, c.empty, sameOps); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestOpJSON(t *testing.T) {
	t.Parallel()
	want := fullOp()
	want.Min = nil // JSON has no infinity
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got kv.Op
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, sameOps); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text, err := json.Marshal(kv.Result{}); err != nil || string(text) != `{"ok":false}` {
		t.Errorf("an empty answer is %s %v", text, err)
	}
	for _, bad := range []string{`{"ops":[{"ops":[{}]}]}`, `{"ops":{}}`, `{"tags":"a"}`, `{"members":[1]}`, `{"OPS":[{"oPs":[{}]}]}`} {
		if err := json.Unmarshal([]byte(bad), new(kv.Op)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestTooManyOpsAreRefused(t *testing.T) {
	t.Parallel()
	const tooMany = 1<<17 + 1
	for name, field := range map[string][]byte{"ops": {0xda, 0x01, 0x00}, "tags": {0xd2, 0x01, 0x00}, "members": {0x92, 0x01, 0x00}} {
		if err := new(kv.Op).ParseProto(bytes.Repeat(field, tooMany)); err == nil || !strings.Contains(err.Error(), "more than 131072") {
			t.Errorf("protobuf with %d %s: %v", tooMany, name, err)
		}
	}
	for name, element := range map[string]string{"ops": "{}", "tags": `""`, "members": "{}"} {
		list := `{"` + name + `":[` + element + strings.Repeat(","+element, tooMany-1) + `]}`
		if err := json.Unmarshal([]byte(list), new(kv.Op)); err == nil || !strings.Contains(err.Error(), "more than 131072") {
			t.Errorf("JSON with %d %s: %v", tooMany, name, err)
		}
	}
	nested := (&kv.Op{Ops: kv.OpList{{Ops: kv.OpList{{Key: "a"}}}}}).AppendProto(nil)
	if err := new(kv.Op).ParseProto(nested); err == nil {
		t.Error("a batch in a batch was accepted")
	}
}

// FuzzParseOp: whatever comes either is refused, or means the same after it was written again, and to the reference what it means to us.
func FuzzParseOp(f *testing.F) {
	f.Add(fullOp().AppendProto(nil))
	f.Add((&kv.Op{Storage: "main", Key: "k"}).AppendProto(nil))
	for _, s := range []string{"", "\x0a\x01\xff", "\x92\x01\x02\x0a\x00", "\xda\x01\x00", "\xc1\x01", "\x0b\x0c", "\x28\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x2d\x00\x00\x00\x00"} {
		f.Add([]byte(s))
	}
	descriptor := schema(f).Messages().ByName("Op")
	f.Fuzz(func(t *testing.T, data []byte) {
		var op kv.Op
		if err := op.ParseProto(data); err != nil {
			return
		}
		if err := proto.Unmarshal(data, dynamicpb.NewMessage(descriptor)); err != nil && !strings.Contains(err.Error(), "recursion") {
			t.Errorf("protobuf refuses what we take: %v", err)
		}
		var again kv.Op
		wire := op.AppendProto(nil)
		if err := again.ParseProto(wire); err != nil {
			t.Fatalf("what we wrote is refused: %v", err)
		}
		if !bytes.Equal(wire, again.AppendProto(nil)) {
			t.Errorf("%x turned into %x", wire, again.AppendProto(nil))
		}
	})
}

// FuzzParseResult is for the clients in Go.
func FuzzParseResult(f *testing.F) {
	f.Add(fullResult().AppendProto(nil))
	for _, s := range []string{"", "\x72\x00", "\x7a\x00", "\x7a\x02\x5a\x00", "\x72\x02\x72\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r, again kv.Result
		if err := r.ParseProto(data); err != nil {
			return
		}
		wire := r.AppendProto(nil)
		if err := again.ParseProto(wire); err != nil {
			t.Fatalf("what we wrote is refused: %v", err)
		}
		if !bytes.Equal(wire, again.AppendProto(nil)) {
			t.Errorf("%x turned into %x", wire, again.AppendProto(nil))
		}
	})
}

func FuzzOpJSON(f *testing.F) {
	text, _ := json.Marshal(&kv.Op{Storage: "main", Key: "k", Value: []byte("v"), Tags: kv.TextList{"a"}, Ops: kv.OpList{{Op: "Get"}}})
	f.Add(text)
	f.Add([]byte(`{"ops":[{"ops":null}],"members":[{"member":"a","score":1e400}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var op, again kv.Op
		if json.Unmarshal(data, &op) != nil {
			return
		}
		text, err := json.Marshal(&op)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("what we wrote is refused: %v", err)
		}
	})
}
