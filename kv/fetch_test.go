package kv_test

import (
	"strings"
	"testing"

	"github.com/edge-server/edge/kv"
)

// fetch calls the method that sdk/php calls, with its argument and its answer as bytes.
func (s *fixture) fetch(argument string) (string, error) {
	req, ok := s.service.NewRequest("Fetch")
	if !ok {
		s.Fatal("there is no method Fetch")
	}
	f := req.(*kv.Fetch)
	if err := f.ParseRaw([]byte(argument)); err != nil {
		s.service.Release(req, nil)
		return "", err
	}
	resp, err := s.service.Call(s.TB.Context(), "Fetch", req)
	out := ""
	if err == nil {
		out = string(resp.(*kv.Fetch).AppendRaw(nil))
	}
	s.service.Release(req, resp)
	s.takeShortcut(argument, out, err)
	return out, err
}

// takeShortcut answers the same by the shortcut, which leaves errors, and what asks for more than one key, to others.
func (s *fixture) takeShortcut(argument, want string, err error) {
	s.Helper()
	got, ok := s.service.Shortcut("Fetch")([]byte("before:"), []byte(argument))
	if one := err == nil && argument[0] == '2'; ok != one || ok && string(got) != "before:"+want {
		s.Errorf("%.20q by the shortcut gave %q, %v, want %q, %v", argument, got, ok, want, one)
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.call("Set", msg("a", `s:1:"x";`, ""), msg("5", `i:7;`, ""), msg("raw", `x;}`, ""), msg("n", "12", ""), msg("empty", "", ""), msg("nul", "\x00\x01", ""),
		msg("a\x00b", "both", ""))
	for argument, want := range map[string]string{
		"1main\x00a\x00none\x00raw\x005\x00n": `a:2:{i:0;a:2:{s:1:"a";s:1:"x";s:1:"5";i:7;}i:1;a:2:{s:3:"raw";s:3:"x;}";s:1:"n";s:2:"12";}}`,
		"0main\x00a":                          `a:2:{i:0;a:0:{}i:1;a:1:{s:1:"a";s:8:"s:1:"x";";}}`,
		"1main\x00none":                       `a:2:{i:0;a:0:{}i:1;a:0:{}}`,
		"2main\x00a":                          `s:1:"x";`,
		"2main\x00none":                       "",
		"2main\x00empty":                      "\x00",
		"2main\x00nul":                        "\x00\x00\x01",
		"2main\x00a\x00b":                     "both",
	} {
		for range 2 { // a request that was used before
			if got, err := s.fetch(argument); err != nil || got != want {
				t.Errorf("%q gave %q, %v, want %q", argument, got, err, want)
			}
		}
	}
	for argument, want := range map[string]string{
		"":                    "the argument of Fetch",
		"1main":               "the argument of Fetch",
		"3main\x00a":          "the argument of Fetch",
		"1main\x00a\x00 \x00": "rpc_mget: key can't be empty string",
		"2main\x00":           "rpc_mget: key can't be empty string",
		"2nope\x00a":          "rpc_mget: no such storage: nope (there are: main)",
		"1nope\x00a":          "rpc_mget: no such storage: nope (there are: main)",
		"1\x00a":              "rpc_mget: no storage provided",
		"1main" + strings.Repeat("\x00k", 1<<17+1): "more than 131072 items",
	} {
		if _, err := s.fetch(argument); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q gave %v, want %q", argument, err, want)
		}
	}
}
