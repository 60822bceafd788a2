package core

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/configfile"
)

// TestNoSecretIsPublic fills every text of the configuration with a mark, so that a key which is added later is seen here: those
// that are secrets must be in the table, and hidden.
func TestNoSecretIsPublic(t *testing.T) {
	t.Parallel()
	secrets := []string{
		"admin.token", "rpc.secret", "telemetry.traces.headers.Authorization", "telemetry.traces.headers.X-Api-Key", "telemetry.traces.headers.X-Key",
		"http.headers.request.Authorization", "http.headers.request.X-Key", "http.routes.0.match.header.X-Key", "http.routes.0.match.query.X-Key",
		"ws.pusher.apps.plain.webhooks.0.headers.plain", "http.routes.0.proxy.headers.request.X-Key", "http.routes.0.respond.headers.Authorization", "php.Authorization.env.Authorization",
	}
	var cfg Config
	fill(reflect.ValueOf(&cfg).Elem(), 0)
	text, err := json.Marshal(cfg.public())
	if err != nil {
		t.Fatal(err)
	}
	var public map[string]any
	if err := json.Unmarshal(text, &public); err != nil {
		t.Fatal(err)
	}
	for _, key := range secrets {
		if got := lookUp(public, strings.Split(key, ".")); got != redacted {
			t.Errorf("%s is %v", key, got)
		}
	}

	// Whatever looks like one, by the name of its key, is one.
	looks := regexp.MustCompile(`(?i)passw|secret|token|credential|dsn|salt|private|api_key|app_key`)
	for _, key := range configfile.Keys(Config{}) {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if looks.MatchString(last) && !secretKey.MatchString(last) {
			t.Errorf("%s looks like a secret and is shown", key)
		}
	}
	for _, name := range []string{
		"password", "pass", "passwd", "passphrase", "secret", "app_secret", "client_secret", "token", "token_file", "credentials", "api_key", "apikey",
		"api-key", "access_key", "private_key", "signing_key", "app_key", "authorization", "Authorization", "cookie", "dsn", "salt", "sentinel_password",
	} {
		if !secretKey.MatchString(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{"key", "keys", "path", "pass_through", "listen", "store", "compress"} {
		if secretKey.MatchString(name) {
			t.Errorf("%s is hidden", name)
		}
	}
	if strings.Contains(string(text), "user:hidden") {
		t.Error("the password of a URL is shown")
	}
}

// fill gives every text a value, every list an element and every map some.
func fill(v reflect.Value, depth int) {
	if depth > 12 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("redis://user:hidden@host")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, name := range []string{"Authorization", "X-Api-Key", "X-Key", "plain"} {
			value := reflect.New(v.Type().Elem()).Elem()
			fill(value, depth+1)
			if v.Type().Key().Kind() == reflect.String {
				v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), value)
			}
		}
	}
}

func lookUp(v any, path []string) any {
	for _, name := range path {
		switch node := v.(type) {
		case map[string]any:
			v = node[name]
		case []any:
			v = node[slices.Index([]string{"0", "1"}, name)]
		default:
			return v // hidden as a whole
		}
	}
	return v
}

// FuzzServiceMessages: what is read as a message is written and read as the same.
func FuzzServiceMessages(f *testing.F) {
	f.Add((&logEntry{"m", []logAttr{{"k", "v"}, {"", ""}}}).AppendProto(nil))
	f.Add((&statusResponse{200, "x"}).AppendProto(nil))
	f.Add([]byte("\x0a\x03app\x12\x00\x08\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, fresh := range []func() message{
			func() message { return new(logEntry) }, func() message { return new(statusRequest) }, func() message { return new(statusResponse) },
		} {
			first, second := fresh(), fresh()
			if first.ParseProto(data) != nil {
				continue
			}
			wire := first.AppendProto(nil)
			if err := second.ParseProto(wire); err != nil || !bytes.Equal(second.AppendProto(nil), wire) || fmt.Sprint(first) != fmt.Sprint(second) {
				t.Fatalf("%+v became %+v, %v", first, second, err)
			}
		}
	})
}

type message interface {
	AppendProto([]byte) []byte
	ParseProto([]byte) error
}

func TestLogEntryIsBounded(t *testing.T) {
	t.Parallel()
	l := &logEntry{LogAttrs: make([]logAttr, maxLogAttrs+1)}
	if err := new(logEntry).ParseProto(l.AppendProto(nil)); err != errTooManyAttrs {
		t.Errorf("%d attributes: %v", maxLogAttrs+1, err)
	}
	if got := (&logEntry{"m", []logAttr{{"a", "b"}, {"c", "d"}}}).text(); got != "m a:b,c:d" {
		t.Errorf("text %q", got)
	}
	if got := (&logEntry{Message: "m"}).text(); got != "m" {
		t.Errorf("text %q", got)
	}
}
