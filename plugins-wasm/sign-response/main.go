// Sign-response signs responses: HTTP Message Signatures (RFC 9421) by HMAC-SHA256 or Ed25519, over a Content-Digest (RFC 9530).
// README.md has the configuration.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/edge-server/edge/sdk/go/edge"
)

// active is the configuration, ready for use. It does not change after checkConfig.
var active *settings

func init() {
	edge.Enable(edge.BufferResponse)
	edge.CheckConfig(func(text []byte) (err error) {
		active, err = parseConfig(text)
		return err
	})
	edge.Handle(func(*edge.Request) edge.Result { return edge.Next })
	edge.HandleResponse(func(r *edge.Response) {
		if !r.Failed() {
			active.sign(r, edge.Now())
		}
	})
}

func main() {}

// sign adds Content-Digest, Signature-Input and Signature.
func (s *settings) sign(r *edge.Response, now time.Time) {
	header := r.Header()
	if s.digest {
		header.Del("Content-Digest") // of somebody else, who need not be right
		if hasContent(r) {
			header.Set("Content-Digest", contentDigest(r.Body()))
		}
	}
	var covered []component
	var values []string
	for _, c := range s.components {
		if value, ok := c.value(r); ok {
			covered, values = append(covered, c), append(values, value)
		}
	}
	parameters := s.parameters(covered, now)
	signature := base64.StdEncoding.EncodeToString(s.key.sign([]byte(base(covered, values, parameters))))

	// Signatures of others stay, but for one that has our name.
	for _, name := range []string{"Signature-Input", "Signature"} {
		for _, value := range header.Values(name) {
			if hasMember(value, s.label) {
				header.Del("Signature-Input")
				header.Del("Signature")
				break
			}
		}
	}
	header.Add("Signature-Input", s.label+"="+parameters)
	header.Add("Signature", s.label+"=:"+signature+":")
}

// hasMember reports whether a dictionary has a member of that name. It may find one within a text, and then too much is removed.
func hasMember(dictionary, name string) bool {
	for member := range strings.SplitSeq(dictionary, ",") {
		if strings.HasPrefix(strings.TrimLeft(member, " \t"), name+"=") {
			return true
		}
	}
	return false
}

// hasContent: where there can be none, a digest would be of something that nobody gets.
func hasContent(r *edge.Response) bool {
	return r.Status() != 204 && r.Status() != 304 && r.Request().Method() != "HEAD"
}

// contentDigest is the field of RFC 9530, 2.
func contentDigest(body io.Reader) string {
	hash := sha256.New()
	for {
		n, err := body.Read(chunk[:])
		hash.Write(chunk[:n])
		if err != nil { // the end; there are no other errors
			return "sha-256=:" + base64.StdEncoding.EncodeToString(hash.Sum(nil)) + ":"
		}
	}
}

// chunk is what is read of a body at a time; an instance serves one request at a time.
var chunk [16 << 10]byte

// component is one of RFC 9421, 2: a field of the response, @status, or something of the request that it answers.
type component struct {
	name    string
	request bool
}

// String is the component identifier.
func (c component) String() string {
	if c.request {
		return `"` + c.name + `";req`
	}
	return `"` + c.name + `"`
}

// value is the component value; false if the message has no such field, which is then not covered.
func (c component) value(r *edge.Response) (string, bool) {
	uri, query, _ := strings.Cut(r.Request().URI(), "?")
	switch c.name {
	case "@status":
		return strconv.Itoa(r.Status()), true
	case "@method":
		return r.Request().Method(), true
	case "@path":
		return uri, true
	case "@query":
		return "?" + query, true
	case "@authority":
		return strings.ToLower(r.Request().Header().Get("host")), true
	}
	header := r.Header()
	if c.request {
		header = r.Request().Header()
	}
	values := header.Values(c.name)
	for i := range values {
		values[i] = strings.Trim(values[i], " \t")
	}
	return strings.Join(values, ", "), len(values) > 0
}

// parameters are the signature parameters (RFC 9421, 2.3), as they go into the signature base and into Signature-Input.
func (s *settings) parameters(covered []component, now time.Time) string {
	var out strings.Builder
	out.WriteByte('(')
	for i, c := range covered {
		if i > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(c.String())
	}
	out.WriteString(");created=" + strconv.FormatInt(now.Unix(), 10))
	if s.expires > 0 {
		out.WriteString(";expires=" + strconv.FormatInt(now.Add(s.expires).Unix(), 10))
	}
	out.WriteString(`;keyid="` + s.keyID + `"`)
	if s.alg != "" {
		out.WriteString(`;alg="` + s.alg + `"`)
	}
	if s.tag != "" {
		out.WriteString(`;tag="` + s.tag + `"`)
	}
	return out.String()
}

// base is the signature base (RFC 9421, 2.5): what is signed.
func base(covered []component, values []string, parameters string) string {
	var out strings.Builder
	for i, c := range covered {
		out.WriteString(c.String() + ": " + values[i] + "\n")
	}
	out.WriteString(`"@signature-params": ` + parameters)
	return out.String()
}
