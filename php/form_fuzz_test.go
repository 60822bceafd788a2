package php

import (
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMultipart parses bodies as they come from clients: what PHP gets is JSON that it can read, and no file stays behind.
func FuzzMultipart(f *testing.F) {
	part := func(disposition, body string) string {
		return "--b\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + body + "\r\n"
	}
	f.Add("b", part(`name="a[x][]"`, "1")+part(`name="f[]"; filename="a.png"`, "pixels")+part(`name="f[]"; filename="b.PHP"`, "<?php")+"--b--\r\n")
	f.Add("b", part(`name=a`, "")+part(`name="a[b]"; filename="x"`, "")+part(`name="a[b]"; filename*=utf-8''%ff`, "2")+"--b--")
	f.Add("b", part(`name="a"`, "1")+part(`name="a[]"`, "2"))
	dir := f.TempDir()
	cfg := DefaultConfig()
	cfg.Uploads.Forbid = []string{".php"}
	p := &Pool{cfg: cfg, temp: &tempDir{path: dir}, log: slog.New(slog.DiscardHandler)}
	f.Fuzz(func(t *testing.T, boundary, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header["Content-Type"] = []string{`multipart/form-data; boundary="` + boundary + `"`}
		form, err := p.readMultipart(r)
		if err == nil {
			body, uploads, _ := trees(form.parts)
			for _, text := range [][]byte{body, uploads} {
				var object map[string]any
				if len(text) > 0 && (json.Unmarshal(text, &object) != nil || !utf8.Valid(text)) {
					t.Fatalf("%q becomes %s", body, text)
				}
			}
			fields, list := nativeParts(form.parts)
			if strings.ContainsRune(string(fields), 0) || strings.Count(string(fields), "&") > len(form.parts) {
				t.Fatalf("%q becomes %q", body, fields)
			}
			if len(list) > 0 {
				unserialized(t, string(list))
			}
			form.removeFiles()
		}
		left, readErr := os.ReadDir(dir)
		if readErr != nil || len(left) > 0 {
			t.Fatalf("%d files are left of %q (%v), %v", len(left), body, err, readErr)
		}
	})
}
