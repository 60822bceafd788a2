package services

import (
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// TestWire holds the messages against bytes put together by hand from the field numbers of service.v1.
func TestWire(t *testing.T) {
	t.Parallel()
	create := &CreateRequest{
		Name: "a", Command: "php x", ProcessNum: 2, ExecTimeout: 3, RemainAfterExit: true, Env: map[string]string{"K": "V"},
		RestartSec: 4, ServiceNameInLog: true, TimeoutStopSec: 5,
	}
	for _, tt := range []struct {
		message interface {
			ParseProto([]byte) error
			AppendProto([]byte) []byte
		}
		want string
	}{
		{create, "0a016112057068702078" + "1802" + "2003" + "2801" + "32060a014b120156" + "3804" + "4001" + "4805"},
		{&Named{"abc"}, "0a03616263"},
		{&Response{"m", true}, "0a016d1001"},
		{&Status{1.5, 7, 9, "c", &Problem{2, "x"}}, "0d0000c03f" + "1007" + "1809" + "220163" + "2a0508021201" + "78"},
		{&Statuses{[]*Status{{PID: 1}, {PID: 2}}}, "0a021001" + "0a021002"},
		{&List{[]string{"a", "b"}}, "0a0161" + "0a0162"},
	} {
		if got := hex.EncodeToString(tt.message.AppendProto(nil)); got != tt.want {
			t.Errorf("%T: %s, want %s", tt.message, got, tt.want)
		}
		data, _ := hex.DecodeString(tt.want)
		got := reflect.New(reflect.TypeOf(tt.message).Elem()).Interface().(interface{ ParseProto([]byte) error })
		if err := got.ParseProto(data); err != nil || !reflect.DeepEqual(got, tt.message) {
			t.Errorf("%+v, %v; want %+v", got, err, tt.message)
		}
	}
	if err := new(Named).ParseProto([]byte("\x0a\x01\xff")); err == nil {
		t.Error("a name that is not UTF-8")
	}
}

func FuzzCreateRequest(f *testing.F) {
	f.Add((&CreateRequest{Name: "a", Command: "b c", ProcessNum: 1, Env: map[string]string{"A": "b"}}).AppendProto(nil))
	f.Add([]byte("\x32\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []interface{ ParseProto([]byte) error }{&Named{}, &Response{}, &Status{}, &Statuses{}, &List{}} {
			_ = m.ParseProto(data)
		}
		var r CreateRequest
		if r.ParseProto(data) != nil {
			return
		}
		c, err := r.config()
		if err != nil {
			return
		}
		if c.Processes > maxProcesses || c.StopTimeout <= 0 || c.Backoff.Min < shortestBackoff {
			t.Errorf("%+v", c)
		}
		var again CreateRequest
		if err := again.ParseProto(r.AppendProto(nil)); err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%+v, %v; want %+v", again, err, r)
		}
	})
}

// TestRPC walks a service from its creation to its end.
func TestRPC(t *testing.T) {
	t.Parallel()
	f := setup(t)
	r := f.RPC()
	if _, err := r.Create(t.Context(), CreateRequest{Name: "a", Command: "sleep 1000"}); err == nil || err.Error() != "the service with a name should have at least 1 process" {
		t.Error(err)
	}
	for _, bad := range []CreateRequest{
		{Name: "", Command: "sleep 1", ProcessNum: 1}, {Name: "a", ProcessNum: 1}, {Name: "a", Command: "sleep 1", ProcessNum: math.MaxInt64},
		{Name: "a", Command: "no-such-program-of-edge", ProcessNum: 1},
	} {
		if _, err := r.Create(t.Context(), bad); err == nil {
			t.Errorf("%+v was created", bad)
		}
	}
	create := CreateRequest{Name: "a", Command: "sleep 1000", ProcessNum: 2, RemainAfterExit: true, ServiceNameInLog: true}
	if out, err := r.Create(t.Context(), create); err != nil || !out.OK {
		t.Fatal(out, err)
	}
	if _, err := r.Create(t.Context(), create); err == nil || err.Error() != "the service with a name already exists" {
		t.Error(err)
	}
	if err := f.Check(map[string]Config{"a": shell("x")}); err == nil || !strings.Contains(err.Error(), "RPC has created") {
		t.Error(err)
	}
	pids := f.runs("a", 2)
	f.apply(map[string]Config{}) // a reload leaves it alone

	all, err := r.Statuses(t.Context(), Named{"a"})
	if err != nil || len(all.Status) != 2 || all.Status[0].PID == 0 || all.Status[0].MemoryUsage == 0 || all.Status[0].Command != "sleep 1000" || all.Status[0].Status != nil {
		t.Errorf("%+v, %v", all, err)
	}
	if last, err := r.Status(t.Context(), Named{"a"}); err != nil || last.PID != all.Status[1].PID {
		t.Errorf("%+v, %v", last, err)
	}
	if out, err := r.Restart(t.Context(), Named{"a"}); err != nil || !out.OK {
		t.Error(out, err)
	}
	for _, pid := range f.runs("a", 2) {
		if pid == pids[0] || pid == pids[1] {
			t.Error("a process was not restarted")
		}
	}
	if list, err := r.List(t.Context(), Named{}); err != nil || strings.Join(list.Services, " ") != "a" {
		t.Errorf("%+v, %v", list, err)
	}
	if out, err := r.Terminate(t.Context(), Named{"a"}); err != nil || !out.OK {
		t.Error(out, err)
	}
	_, terminated := r.Terminate(t.Context(), Named{"a"})
	_, restarted := r.Restart(t.Context(), Named{"a"})
	_, asked := r.Statuses(t.Context(), Named{"a"})
	for _, err := range []error{terminated, restarted, asked} {
		if err == nil || err.Error() != "the service with a name name doesn't exist" && err.Error() != "the service with a name doesn't exist" {
			t.Error(err)
		}
	}

	once := CreateRequest{Name: "once", Command: "sleep 1000", ProcessNum: 1, ExecTimeout: 1}
	if _, err := r.Create(t.Context(), once); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "it is over after exec_timeout", func() bool {
		s, err := r.Status(t.Context(), Named{"once"})
		return err == nil && s.PID == 0 && s.Status != nil && strings.Contains(s.Status.Message, "exec_timeout, 1s")
	})
	if seconds(math.MaxUint64) <= 0 || seconds(math.MaxUint64) < time.Hour {
		t.Error("a huge number of seconds is not a long time")
	}
}
