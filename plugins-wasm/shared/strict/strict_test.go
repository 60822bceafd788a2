package strict

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

type span string

func (s *span) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, (*string)(s)) != nil {
		return errors.New("a time such as 30s")
	}
	return nil
}

type document struct {
	Name   string `json:"name"`
	On     *bool  `json:"on"`
	Number int    `json:"number"`
	Span   span   `json:"span"`
	List   []struct {
		Name string          `json:"name"`
		Raw  json.RawMessage `json:"raw"`
	} `json:"list"`
	Names map[string]string `json:"names"`
	Any   map[string]any    `json:"any"`

	own int
}

func TestRead(t *testing.T) {
	var d document
	text := `{"name": "n", "on": true, "number": 5, "span": "1s", "list": [{"name": "a", "raw": {"x": 1}}], "names": {"k": "v"}, "any": {"a": [1]}}`
	if err := Read([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if d.Name != "n" || !*d.On || d.Number != 5 || d.Span != "1s" || string(d.List[0].Raw) != `{"x": 1}` || d.Names["k"] != "v" || d.Any["a"].([]any)[0] != 1.0 || d.own != 0 {
		t.Errorf("read %+v", d)
	}
	for _, empty := range []string{"", " \n", "{}", "null", `{"name": null, "list": null, "on": null}`} {
		var d document
		if err := Read([]byte(empty), &d); err != nil || d.Name != "" || d.On != nil || d.List != nil {
			t.Errorf("%q: %+v, %v", empty, d, err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`a secret`:                     "config: must be a map of keys, and is a text",
		`{} {}`:                        "config: must be a map of keys, and is a text",
		`[]`:                           "config: must be a map of keys",
		`5`:                            "config: must be a map of keys",
		`{"Name": "x"}`:                "config.Name: there is no such key; there are name, on, number, span, list, names, any",
		`{"": 1}`:                      "config.: there is no such key",
		`{"own": 1}`:                   "config.own: there is no such key",
		`{"name": 5}`:                  "config.name: must be a text; put it into quotes",
		`{"on": "yes"}`:                "config.on: must be true or false",
		`{"number": "5"}`:              "config.number: must be a whole number",
		`{"number": 1.5}`:              "config.number: must be a whole number",
		`{"number": 1e99}`:             "config.number: must be a whole number",
		`{"span": 5}`:                  "config.span: a time such as 30s",
		`{"list": {}}`:                 "config.list: must be a list",
		`{"list": [{}, {"nam": "x"}]}`: "config.list[1].nam: there is no such key; there are name, raw",
		`{"list": [5]}`:                "config.list[0]: must be a map of keys",
		`{"names": {"k": 5}}`:          "config.names.k: must be a text; put it into quotes",
		`{"names": []}`:                "config.names: must be a map of keys",
	} {
		var d document
		if err := Read([]byte(text), &d); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
