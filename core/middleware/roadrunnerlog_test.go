package middleware

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRoadRunnerLog compares the fields with RoadRunner's, name by name.
func TestRoadRunnerLog(t *testing.T) {
	t.Parallel()
	short := []string{"URI", "URL", "elapsed", "level", "method", "msg", "read_bytes", "remote_address", "start", "status", "time", "write_bytes"}
	long := append(slices.Clone(short), "content_len", "host", "query", "referer", "request_time", "time_local", "user_agent")
	for full, names := range map[bool][]string{false: short, true: long} {
		var out bytes.Buffer
		h := RoadRunnerLog(slog.New(slog.NewJSONHandler(&out, nil)), full)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, "short")
		}))
		r := httptest.NewRequest(http.MethodPost, "http://a.example/x?y=1", strings.NewReader("four"))
		r.Header.Set("User-Agent", "a\r\nb")
		h.ServeHTTP(httptest.NewRecorder(), r)

		var record map[string]any
		if err := json.Unmarshal(out.Bytes(), &record); err != nil {
			t.Fatal(err)
		}
		var got []string
		for name := range record {
			got = append(got, name)
		}
		slices.Sort(got)
		slices.Sort(names)
		if !slices.Equal(got, names) {
			t.Errorf("full %v: fields %q, want %q", full, got, names)
		}
		if record["status"] != 418.0 || record["read_bytes"] != 4.0 || record["write_bytes"] != 5.0 || record["remote_address"] != r.RemoteAddr {
			t.Errorf("the record is %v", record)
		}
		if !full {
			continue
		}
		if record["msg"] != "http access log" || record["user_agent"] != "ab" || record["query"] != "y=1" || record["content_len"] != 4.0 ||
			!regexp.MustCompile(`^\d\d/[A-Z][a-z]{2}/\d\d:\d\d:\d\d:\d\d [+-]\d{4}$`).MatchString(record["time_local"].(string)) {
			t.Errorf("the record is %v", record)
		}
	}
}
