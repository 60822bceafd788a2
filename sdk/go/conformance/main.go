// Conformance is the guest of sdk/conformance in Go; the README there says what it does.
package main

import (
	"io"
	"strconv"
	"strings"

	"github.com/edge-server/edge/sdk/go/edge"
	"github.com/edge-server/edge/sdk/go/edge/router"
	"github.com/edge-server/edge/sdk/go/edge/ws"
)

// scripts are the headers that carry them.
var scripts = struct{ request, response string }{"x-request", "x-response"}

var (
	count   int    // of operations "count" in this instance
	started string // output of start-up
)

func init() {
	config := string(edge.Config())
	if config == "role=origin" {
		scripts.request, scripts.response = "x-origin", "x-origin-response"
	}
	if text, ok := strings.CutPrefix(config, "start="); ok {
		s := script{}
		s.run(text)
		started = s.output()
	}
	edge.Handle(handle)
	edge.HandleResponse(handleResponse)
}

func main() {}

func handle(r *edge.Request) edge.Result {
	s := script{request: r, result: edge.Next}
	s.run(r.Header().Get(scripts.request))
	return s.result
}

func handleResponse(r *edge.Response) {
	s := script{request: r.Request(), response: r}
	s.run(r.Request().Header().Get(scripts.response))
}

// script is one that runs.
type script struct {
	request  *edge.Request
	response *edge.Response // in handleResponse
	router   *router.Request
	conn     *ws.Conn
	results  []string
	result   edge.Result

	refusal     int // of a WebSocket
	closeCode   int
	closeReason string
}

func (s *script) output() string {
	all := strings.Join(s.results, ";")
	s.results = nil
	return all
}

func (s *script) run(text string) {
	if text == "" {
		return
	}
	for operation := range strings.SplitSeq(text, ";") {
		words := strings.Split(operation, ",")
		arg := func(i int) string {
			if i < len(words) {
				return decode(words[i])
			}
			return ""
		}
		if s.do(words[0], arg, len(words)) {
			return
		}
	}
}

// do runs one operation and reports whether it ends the script.
func (s *script) do(name string, arg func(int) string, args int) (end bool) {
	switch name {
	case "next":
		s.result = edge.NextWith(uint32(number(arg(1))))
		return true
	case "done":
		s.result = edge.Done
		return true
	case "reply":
		s.result = s.request.Respond(number(arg(1)), arg(2), s.output())
		return true
	case "refuse":
		s.refusal = number(arg(1))
		return true
	}
	if !s.message(name, arg) && !s.fields(name, arg) && !s.bodies(name, arg) && !s.server(name, arg) && !s.edge(name, arg, args) {
		s.text("?" + name)
	}
	return false
}

// message is what is one value of request or response.
func (s *script) message(name string, arg func(int) string) bool {
	switch name {
	case "method":
		s.text(s.request.Method())
	case "set-method":
		s.request.SetMethod(arg(1))
	case "uri":
		s.text(s.request.URI())
	case "set-uri":
		s.request.SetURI(arg(1))
	case "proto":
		s.text(s.request.Proto())
	case "peer":
		s.text(s.request.SourceAddr())
	case "status":
		s.text(strconv.Itoa(s.answer().Status()))
	case "set-status":
		s.answer().SetStatus(number(arg(1)))
	case "ctx":
		s.text(strconv.FormatUint(uint64(s.response.Ctx()), 10))
	case "failed":
		s.truth(s.response.Failed())
	default:
		return false
	}
	return true
}

// answer is the response of either phase.
func (s *script) answer() *edge.Response {
	if s.response != nil {
		return s.response
	}
	return s.request.Response()
}

func (s *script) fields(name string, arg func(int) string) bool {
	header := func() edge.Header {
		switch arg(1) {
		case "request":
			return s.request.Header()
		case "request-trailer":
			return s.request.Trailer()
		case "response-trailer":
			return s.answer().Trailer()
		}
		return s.answer().Header()
	}
	switch name {
	case "names":
		s.list(header().Names())
	case "get":
		s.text(header().Get(arg(2)))
	case "has":
		s.truth(header().Has(arg(2)))
	case "values":
		s.list(header().Values(arg(2)))
	case "set":
		header().Set(arg(2), arg(3))
	case "add":
		header().Add(arg(2), arg(3))
	case "del":
		header().Del(arg(2))
	case "put":
		header().Set(arg(2), s.output())
	default:
		return false
	}
	return true
}

func (s *script) bodies(name string, arg func(int) string) bool {
	body := func() *edge.Body {
		if arg(1) == "request" {
			return s.request.Body()
		}
		return s.answer().Body()
	}
	switch name {
	case "read":
		piece := make([]byte, number(arg(2)))
		n, _ := io.ReadFull(body(), piece)
		s.text(string(piece[:n]))
	case "read-all":
		s.text(string(body().ReadAll()))
	case "sum":
		s.text(sum(body()))
	case "write":
		body().WriteString(arg(2))
	case "fill":
		for range number(arg(3)) {
			body().WriteString(arg(2))
		}
	default:
		return false
	}
	return true
}

func sum(body io.Reader) string {
	var total uint32
	var length int
	for piece := make([]byte, 4096); ; {
		n, err := body.Read(piece)
		for _, b := range piece[:n] {
			total += uint32(b)
		}
		length += n
		if err != nil {
			return strconv.Itoa(length) + "-" + strconv.FormatUint(uint64(total), 10)
		}
	}
}

// server is what does not belong to a message.
func (s *script) server(name string, arg func(int) string) bool {
	switch name {
	case "config":
		s.text(string(edge.Config()))
	case "enable":
		s.list(enable(strings.Split(arg(1), "+")))
	case "log":
		write(arg(1), arg(2))
	case "say":
		write(arg(1), s.output())
	case "log-enabled":
		s.truth(edge.LogEnabled(level(arg(1))))
	case "count":
		count++
		s.text(strconv.Itoa(count))
	case "started":
		s.results = append(s.results, started)
	case "panic":
		panic(arg(1))
	default:
		return false
	}
	return true
}

func write(name, text string) { edge.Log(level(name), text) }

func level(name string) edge.Level {
	switch name {
	case "debug":
		return edge.LevelDebug
	case "warn":
		return edge.LevelWarn
	case "error":
		return edge.LevelError
	}
	return edge.LevelInfo
}

var features = []struct {
	name string
	bit  edge.Features
}{{"request", edge.BufferRequest}, {"response", edge.BufferResponse}, {"trailers", edge.Trailers}}

func enable(names []string) (on []string) {
	var wanted edge.Features
	for _, f := range features {
		for _, name := range names {
			if name == f.name {
				wanted |= f.bit
			}
		}
	}
	have := edge.Enable(wanted)
	for _, f := range features {
		if have&f.bit != 0 {
			on = append(on, f.name)
		}
	}
	return on
}

func number(text string) int {
	n, _ := strconv.ParseUint(text, 10, 32)
	return int(n)
}

func (s *script) truth(b bool) {
	if b {
		s.text("1")
	} else {
		s.text("0")
	}
}

func (s *script) text(text string) { s.results = append(s.results, encode(text)) }

func (s *script) list(items []string) {
	encoded := make([]string, len(items))
	for i, item := range items {
		encoded[i] = encode(item)
	}
	s.results = append(s.results, strings.Join(encoded, ","))
}

const digits = "0123456789ABCDEF"

func encode(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < 0x21 || c > 0x7e || c == '%' || c == ',' || c == ';' {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func decode(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			c, _ := strconv.ParseUint(text[i+1:i+3], 16, 8)
			b.WriteByte(byte(c))
			i += 2
		} else {
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
