package wasmhost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"golang.org/x/net/http/httpguts"

	"github.com/edge-server/edge/sdk/abi"
)

const maxRequestHead = 64 << 10

// answered is the answer to a request of the guest's: of another server, or of PHP. It ends with the call that asked for it.
type answered struct {
	status int
	header http.Header
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelFunc
	read   int64
	ended  bool
}

func (a *answered) lasts() bool { return false }

// Close gives the connection back, or ends it.
func (a *answered) Close() error {
	defer a.cancel()
	return a.body.Close()
}

// answerFunctions are those on an answer, under the names of a namespace.
func answerFunctions(status, header, names, read, close string) []edgeFunction {
	return []edgeFunction{
		{status, "i:i", whileRunning, answerStatus},
		{header, "iiiii:I", whileRunning, answerHeader},
		{names, "iii:I", whileRunning, answerHeaderNames},
		{read, "iii:I", whileRunning, answerRead},
		{close, "i:i", whileRunning, closeHandle2[*answered]},
	}
}

func answerStatus(i *instance, _ api.Memory, s []uint64) (int64, error) {
	a, err := handleOf[*answered](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	return int64(a.status), nil
}

func answerHeader(i *instance, mem api.Memory, s []uint64) (int64, error) {
	a, err := handleOf[*answered](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	name, err := textAt(mem, s[1], s[2], 256)
	if err != nil {
		return 0, err
	}
	return giveList(mem, s[3], s[4], a.header.Values(name), false)
}

func answerHeaderNames(i *instance, mem api.Memory, s []uint64) (int64, error) {
	a, err := handleOf[*answered](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	names := sortedKeys(a.header)
	return giveList(mem, s[1], s[2], names, true)
}

func answerRead(i *instance, mem api.Memory, s []uint64) (int64, error) {
	a, err := handleOf[*answered](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	buf, err := bytesAt(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	if len(buf) == 0 {
		return 0, refusal(abi.ErrInvalid, "a read into 0 bytes would never end")
	}
	n := 0
	for n < len(buf) && !a.ended {
		m, err := a.body.Read(buf[n:])
		n += m
		if a.read += int64(m); a.read > int64(i.gen.limits.Body) {
			return 0, errBudget
		}
		if errors.Is(err, io.EOF) {
			a.ended = true
		} else if err != nil {
			return 0, lost(a.ctx, err)
		}
	}
	return int64(abi.PackEOFLen(a.ended, uint32(n))), nil
}

// requestAt reads the head and the body of a request that the guest wants made.
func (i *instance) requestAt(ctx context.Context, mem api.Memory, target string, head, headLen, body, bodyLen uint64) (*http.Request, error) {
	text, err := textAt(mem, head, headLen, maxRequestHead)
	if err != nil {
		return nil, err
	}
	b, err := i.value(mem, body, bodyLen)
	if err != nil {
		return nil, err
	}
	r, err := parseRequestHead(text, target)
	if err != nil {
		return nil, err
	}
	if len(b) > 0 {
		content := slices.Clone(b) // the transport may read it after the guest goes on
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(content)), int64(len(content))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	}
	return r.WithContext(ctx), nil
}

// hopByHop are headers that are the host's to write.
var hopByHop = []string{"Connection", "Content-Length", "Expect", "Host", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

// parseRequestHead reads
//
//	POST https://api.example.com/v1/items?x=1
//	content-type: application/json
//
// The target in its first line is one such as the example.
func parseRequestHead(text, example string) (*http.Request, error) {
	first, rest, _ := strings.Cut(text, "\n")
	method, target, ok := strings.Cut(first, " ")
	if !ok || !httpguts.ValidHeaderFieldName(method) {
		return nil, refusal(abi.ErrInvalid, "%.80q does not begin a request: write GET %s", first, example)
	}
	if strings.ContainsFunc(target, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return nil, refusal(abi.ErrInvalid, "%.80q is not a URL in its percent-encoded form", target)
	}
	u, err := url.Parse(target)
	if err != nil || u.User != nil || u.Opaque != "" {
		return nil, refusal(abi.ErrInvalid, "%.80q is not a URL, or has a user name", target)
	}
	r := &http.Request{Method: method, URL: u, Host: u.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody}
	for line := range strings.Lines(rest) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			return nil, refusal(abi.ErrInvalid, "%.80q is not a header", line)
		}
		key := http.CanonicalHeaderKey(name)
		if slices.Contains(hopByHop, key) {
			return nil, refusal(abi.ErrInvalid, "the header %s is the host's to write", key)
		}
		r.Header.Add(key, value)
	}
	return r, nil
}

func httpDo(i *instance, mem api.Memory, s []uint64) (int64, error) {
	ctx, cancel := i.waitingFor(s[4], httpTimeout)
	r, err := i.requestAt(ctx, mem, "https://host/path", s[0], s[1], s[2], s[3])
	var transport *http.Transport
	if err == nil {
		transport, err = i.permitted(r.URL)
	}
	if err != nil {
		cancel()
		return 0, err
	}
	if r.Header["User-Agent"] == nil {
		r.Header["User-Agent"] = []string{"edge"}
	}
	res, err := transport.RoundTrip(r) //nolint:bodyclose // the handle closes it; no redirect is followed, so that each step is asked for
	if err != nil {
		cancel()
		var known *hostError
		if errors.As(err, &known) {
			return 0, known
		}
		return 0, unreachable(err)
	}
	return i.ext.handles.add(&answered{status: res.StatusCode, header: res.Header, body: res.Body, ctx: ctx, cancel: cancel})
}

// permitted returns what makes the request, if it is granted.
func (i *instance) permitted(u *url.URL) (*http.Transport, error) {
	port, x := u.Port(), &i.gen.ext
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, refusal(abi.ErrInvalid, "%.80q is not a URL of http or https", u.Redacted())
	case port == "" && u.Scheme == "http":
		port = "80"
	case port == "":
		port = "443"
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	switch {
	case !x.grants.http(u.Scheme, u.Hostname(), port, path) || strings.Contains(strings.ReplaceAll(u.Path, `\`, "/"), "/.."):
		return nil, refusal(abi.ErrDenied, "%s://%s%.100s is not granted by plugins.modules.%s.allow.net", u.Scheme, u.Host, path, i.gen.name)
	case x.grants.privateHTTP(u.Scheme, u.Hostname(), port, path):
		return x.network.private, nil
	}
	return x.network.public, nil
}
