package jsonproblem_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/jsonproblem"
)

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		``: "it is empty", `{`: "it is not JSON", `x`: "it is not JSON",
		`[]`: "it must be an object, not a list", `5`: "it must be an object, not a number", `"x"`: "it must be an object, not a text",
		`{"name":5}`: "name must be a text, not a number", `{"list":"x"}`: "list must be a list, not a text", `{"list":[true]}`: "list must be a text, not true or false",
		`{"n":"x"}`: "n must be a number, not a text", `{"in":{"flag":{}}}`: "in.flag must be true or false, not an object", `{"m":[]}`: "m must be an object, not a list",
		`{"n":1.5}`: "n must be a whole number", `{"n":1e2}`: "n must be a whole number", `{"n":99999999999999999999}`: "n is too large or too small a number",
		`{"f":1e999}`: "f is too large or too small a number", `{"more":1}`: `there is no field "more"`,
	} {
		var into struct {
			Name string            `json:"name"`
			List []string          `json:"list"`
			N    int               `json:"n"`
			F    float64           `json:"f"`
			M    map[string]string `json:"m"`
			In   struct {
				Flag bool `json:"flag"`
			} `json:"in"`
		}
		in := json.NewDecoder(strings.NewReader(text))
		in.DisallowUnknownFields()
		if got := jsonproblem.Text(in.Decode(&into)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
