// Json-schema checks the JSON bodies of requests against schemas and answers 400 or 422 with application/problem+json (RFC 9457).
// README.md has the configuration and the keywords.
//
// main.go finds the rule for a request and answers; config.go reads the rules; compile.go makes schemas of JSON, check.go applies
// them; value.go reads bodies.
package main

import (
	"encoding/json"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
)

// active is the configuration, ready for use.
var active *settings

func init() {
	edge.Enable(edge.BufferRequest)
	edge.CheckConfig(func(text []byte) (err error) {
		active, err = parseConfig(text)
		return err
	})
	edge.Handle(func(r *edge.Request) edge.Result { return active.handle(r) })
}

func main() {}

func (s *settings) handle(r *edge.Request) edge.Result {
	rule := s.find(r.Method(), r.URI())
	if rule == nil {
		return edge.Next
	}
	if p := s.check(r, rule); p != nil {
		return p.answer(r)
	}
	return edge.Next
}

// find returns the first rule for a request, nil without one.
func (s *settings) find(method, uri string) *rule {
	at := cleanPath(uri)
	for _, rule := range s.rules {
		if slices.Contains(rule.methods, method) && rule.matches(at) {
			return rule
		}
	}
	return nil
}

// cleanPath is the path as an application will understand it: /a/%62//c/../d is /a/b/d. Otherwise another spelling would pass
// by the rule.
func cleanPath(uri string) string {
	raw, _, _ := strings.Cut(uri, "?")
	return path.Clean("/" + unescape(raw))
}

// unescape resolves %41; what is no escape stays.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func (r *rule) matches(at string) bool {
	if below, tree := strings.CutSuffix(r.path, "/*"); tree {
		return at == below || strings.HasPrefix(at, below+"/")
	}
	return at == r.path
}

// check returns what is wrong with a request, nil if it is good.
func (s *settings) check(r *edge.Request, rule *rule) *problem {
	types := r.Header().Values("content-type")
	if len(types) != 1 || !rule.takes(types[0]) {
		if rule.passOthers {
			return nil
		}
		return &problem{Status: 415, Title: "Unsupported Media Type", Detail: "the body must be of type " + strings.Join(rule.types, ", ")}
	}
	if encoding := r.Header().Get("content-encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return &problem{Status: 415, Title: "Unsupported Media Type", Detail: "the body must not be compressed"}
	}
	body, fits := s.readBody(r.Body())
	if !fits {
		return &problem{Status: 413, Title: "Content Too Large", Detail: "the body is larger than " + strconv.Itoa(s.maxBody) + " bytes"}
	}
	tape, err := readTape(body, s.maxDepth)
	if err != nil {
		return &problem{Status: 400, Title: "Bad Request", Detail: "the body is not the JSON that it should be: " + err.Error()}
	}
	found := findings{max: s.maxErrors}
	if rule.schema.check(value{tape, 0}, nil, &found) {
		return nil
	}
	return &problem{Status: rule.status, Title: title(rule.status), Detail: "the body does not match the schema", Errors: found.list}
}

// takes reports whether the rule is for a content type.
func (r *rule) takes(value string) bool {
	name, parameters, _ := strings.Cut(value, ";")
	name = strings.ToLower(strings.Trim(name, " \t"))
	for parameter := range strings.SplitSeq(parameters, ";") {
		key, charset, _ := strings.Cut(strings.ToLower(strings.Trim(parameter, " \t")), "=")
		if key == "charset" && strings.Trim(charset, `"`) != "utf-8" {
			return false // RFC 8259, 8.1: JSON is UTF-8
		}
	}
	return slices.ContainsFunc(r.types, func(pattern string) bool {
		suffix, wild := strings.CutPrefix(pattern, "*")
		return pattern == name || wild && strings.HasSuffix(name, suffix)
	})
}

// readBody reads a body of at most limit bytes. The result is valid until the next request.
func (s *settings) readBody(body *edge.Body) ([]byte, bool) {
	all := s.buffer[:0]
	for {
		if len(all) == cap(all) {
			all = slices.Grow(all, max(4<<10, len(all)))
		}
		n, err := body.Read(all[len(all):min(cap(all), s.maxBody+1)])
		if all = all[:len(all)+n]; len(all) > s.maxBody {
			return nil, false
		}
		if err != nil {
			if cap(all) <= 256<<10 { // a large one is not kept for the small ones to come
				s.buffer = all
			}
			return all, true
		}
	}
}

// problem is a problem of RFC 9457.
type problem struct {
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Errors []finding `json:"errors,omitempty"`
}

// finding is one thing that is wrong; Pointer is a JSON pointer as a fragment, such as #/items/0/price.
type finding struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

func title(status int) string {
	if status == 400 {
		return "Bad Request"
	}
	return "Unprocessable Content"
}

func (p *problem) answer(r *edge.Request) edge.Result {
	text, err := json.Marshal(p)
	if err != nil { // of texts and numbers
		text = []byte(`{}`)
	}
	return r.Respond(p.Status, "application/problem+json", string(text)+"\n")
}
