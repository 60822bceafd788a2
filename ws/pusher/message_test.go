package pusher

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMessagesAreReadAsJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frame, event, channel, data string }{
		{`{"event":"pusher:ping","data":{}}`, "pusher:ping", "", "{}"},
		{` { "data" : {"channel":"a"} , "event" : "pusher:subscribe" } `, "pusher:subscribe", "", `{"channel":"a"}`},
		{`{"event":"client-x","channel":"private-a","data":"text \"here\""}`, "client-x", "private-a", `"text \"here\""`},
		{`{"event":"\u0070usher:ping"}`, "pusher:ping", "", ""},
		{`{"event":"a","event":"b","channel":null}`, "b", "", ""},
		{`{"event":"e","more":[1,-2.5e+7,{"x":[true,false,null]}]}`, "e", "", ""},
	} {
		m, err := parseMessage([]byte(c.frame))
		if err != nil || m.event != c.event || m.channel != c.channel || string(m.data) != c.data {
			t.Errorf("%s: %+v %q, %v", c.frame, m, m.data, err)
		}
	}
	for _, frame := range []string{
		``, `{`, `{}`, `[]`, `"x"`, `{"event":1}`, `{"event":"x"`, `{"event":"x",}`, `{"event":"x"} x`, `{"event":"x","data":01}`, `{"event":"x","data":tru}`,
		`{"event":"x","data":"` + "\n" + `"}`, `{"event":"x","data":"\x"}`, `{"event":"x","data":"\u12g4"}`, `{"event":"x","data":1.}`, `{'event':'x'}`,
		`{"event":"x","channel":{}}`, `{"event":"x" "channel":"y"}`, `{"event":"x","data":[1 2]}`, `{"event":"x","data":-}`, `{"event":"x","data":1e}`,
	} {
		if m, err := parseMessage([]byte(frame)); err == nil {
			t.Errorf("%q is read as %+v", frame, m)
		}
	}
}

func TestWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for frame, want := range map[string]error{
		`[]`: errNotObject, ` null`: errNotObject, `5 `: errNotObject, `"x"`: errNotObject, `{}`: errNotObject, `{"event":null}`: errNotObject,
		`[`: errJSON, `nul`: errJSON, ``: errJSON, `{`: errJSON, `[] x`: errJSON, `{} x`: errJSON,
	} {
		if _, err := parseMessage([]byte(frame)); err != want {
			t.Errorf("%s: %v, want %v", frame, err, want)
		}
	}
	for data, want := range map[string]error{`[]`: errNoObject, `5`: errNoObject, `"5"`: errNoObject, `"x"`: errJSON, ``: errJSON} {
		if err := fields([]byte(data), nil); err != want {
			t.Errorf("%s: %v, want %v", data, err, want)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte {
		return []byte(`{"event":"x","data":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if _, err := parseMessage(nested(maxDepth - 1)); err != nil {
		t.Error(err)
	}
	if _, err := parseMessage(nested(maxDepth)); !errors.Is(err, errDepth) {
		t.Error(err)
	}
}

func TestFieldsMayComeInAString(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"channel":"a","auth":"k:s","n":[1]}`, `"{\"channel\":\"a\",\"auth\":\"k:s\"}"`} {
		var channel, auth string
		if err := fields([]byte(data), map[string]*string{"channel": &channel, "auth": &auth}); err != nil || channel != "a" || auth != "k:s" {
			t.Errorf("%s: %q %q %v", data, channel, auth, err)
		}
	}
	for _, data := range []string{``, `1`, `[]`, `"x"`, `{"channel":1}`, `{"channel":"a"}x`} {
		var channel string
		if err := fields([]byte(data), map[string]*string{"channel": &channel}); err == nil {
			t.Errorf("%s: no error", data)
		}
	}
}

func TestFramesToClients(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		string(appendEvent(nil, "pusher:pong", "", nil)):                                          `{"event":"pusher:pong"}`,
		string(appendEvent(nil, "e", "c", []byte(`{"a":"b"}`))):                                   `{"event":"e","channel":"c","data":"{\"a\":\"b\"}"}`,
		string(appendPublished(nil, "e", "c", "<\n\x01é\xff>", "7")):                              `{"event":"e","channel":"c","data":"<\n\u0001é` + "\uFFFD" + `>","user_id":"7"}`,
		string(appendProblem(nil, problem{4301, `no "x"`})):                                       `{"event":"pusher:error","data":"{\"code\":4301,\"message\":\"no \\\"x\\\"\"}"}`,
		string(appendProblem(nil, problem{0, "x"})):                                               `{"event":"pusher:error","data":"{\"code\":null,\"message\":\"x\"}"}`,
		textOf([]byte(`"a\nb"`)) + textOf([]byte(`{"a": 1}`)) + textOf(nil) + textOf([]byte("7")): "a\nb{\"a\": 1}7",
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(`{"event":"client-x","channel":"private-a","data":{"a":[1,"\u00e9",null]}}`))
	f.Add([]byte(`{"event":"\ud83d\ude00\ud83d","data":-0.5E-3}`))
	f.Fuzz(func(t *testing.T, frame []byte) {
		m, err := parseMessage(frame)
		var want map[string]json.RawMessage
		wantErr := json.Unmarshal(frame, &want)
		if errors.Is(err, errDepth) {
			return
		}
		if err == nil && (wantErr != nil || !json.Valid(frame)) {
			t.Fatalf("%q: read, but encoding/json says %v", frame, wantErr)
		}
		if wantErr != nil || err != nil && !errors.Is(err, errJSON) {
			return // refused by both, or read by both and not a message
		}
		if err != nil && want != nil {
			t.Fatalf("%q: %v, but encoding/json reads it", frame, err)
		}
		if err != nil {
			return
		}
		var event, channel string
		_ = json.Unmarshal(want["event"], &event)
		_ = json.Unmarshal(want["channel"], &channel)
		if !utf8.Valid(frame) {
			return // the connection refused it before
		}
		if last := bytes.TrimSpace(want["data"]); m.event != event || m.channel != channel || !bytes.Equal(bytes.TrimSpace(m.data), last) {
			// Keys may be written with escapes, which are not looked at.
			if !bytes.Contains(frame, []byte(`\u`)) {
				t.Fatalf("%q: %+v", frame, m)
			}
		}
	})
}

func FuzzAppendText(f *testing.F) {
	f.Add("é\xff\x00\"\\\u2028")
	f.Fuzz(func(t *testing.T, text string) {
		var got string
		quoted := appendText(nil, text)
		if err := json.Unmarshal(quoted, &got); err != nil || got != strings.ToValidUTF8(text, "\uFFFD") && utf8.ValidString(text) || !utf8.Valid(quoted) {
			t.Fatalf("%q becomes %s, %v", text, quoted, err)
		}
		if utf8.ValidString(text) && unquote(quoted) != text {
			t.Fatalf("%q comes back as %q", text, unquote(quoted))
		}
	})
}

func BenchmarkParseMessage(b *testing.B) {
	frame := []byte(`{"event":"client-typing","channel":"private-chat.17","data":{"user":"ada","at":1700000000,"text":"hello there"}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseMessage(frame); err != nil {
			b.Fatal(err)
		}
	}
}
