package wasmhost

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// callShape says what the parameters of a host function are, a letter each:
//
//	s  a text: pointer and length
//	o  a buffer for the result: pointer and capacity
//	n  a number of 32 bits          N  one of 64
//	k  which header or body         p  a pointer to something else
type callShape string

// callShapes of all host functions.
var callShapes = map[string]callShape{
	"http_handler.enable_features":      "n",
	"http_handler.get_config":           "o",
	"http_handler.log_enabled":          "n",
	"http_handler.log":                  "ns",
	"http_handler.get_method":           "o",
	"http_handler.set_method":           "s",
	"http_handler.get_uri":              "o",
	"http_handler.set_uri":              "s",
	"http_handler.get_protocol_version": "o",
	"http_handler.get_source_addr":      "o",
	"http_handler.get_header_names":     "ko",
	"http_handler.get_header_values":    "kso",
	"http_handler.set_header_value":     "kss",
	"http_handler.add_header_value":     "kss",
	"http_handler.remove_header":        "ks",
	"http_handler.read_body":            "ko",
	"http_handler.write_body":           "ks",
	"http_handler.get_status_code":      "",
	"http_handler.set_status_code":      "n",

	"edge_core_v1.abi":         "",
	"edge_core_v1.has":         "s",
	"edge_core_v1.now_ms":      "",
	"edge_core_v1.deadline_ms": "",
	"edge_core_v1.var_get":     "so",
	"edge_core_v1.var_set":     "ss",
	"edge_core_v1.last_error":  "o",
	"edge_core_v1.set_error":   "s",
	"edge_core_v1.flush":       "",

	"edge_kv_v1.open":   "s",
	"edge_kv_v1.get":    "nsop",
	"edge_kv_v1.set":    "nssNnN",
	"edge_kv_v1.delete": "nsN",
	"edge_kv_v1.expire": "nsN",
	"edge_kv_v1.incr":   "nsNNp",
	"edge_kv_v1.batch":  "nso",
	"edge_kv_v1.scan":   "nssno",

	"edge_net_v1.tcp_dial":          "snn",
	"edge_net_v1.tcp_read":          "non",
	"edge_net_v1.tcp_write":         "nsn",
	"edge_net_v1.tcp_close":         "n",
	"edge_net_v1.http_do":           "ssn",
	"edge_net_v1.http_status":       "n",
	"edge_net_v1.http_header":       "nso",
	"edge_net_v1.http_header_names": "no",
	"edge_net_v1.http_read":         "no",
	"edge_net_v1.http_close":        "n",

	"edge_ws_v1.send":        "Nns",
	"edge_ws_v1.publish":     "sns",
	"edge_ws_v1.subscribe":   "Ns",
	"edge_ws_v1.unsubscribe": "Ns",
	"edge_ws_v1.close":       "Nns",
	"edge_ws_v1.user":        "No",
	"edge_ws_v1.set_user":    "Ns",
	"edge_ws_v1.get":         "Nso",
	"edge_ws_v1.set":         "Nss",

	"edge_route_v1.to":       "s",
	"edge_route_v1.pool":     "s",
	"edge_route_v1.rewrite":  "s",
	"edge_route_v1.redirect": "ns",
	"edge_route_v1.status":   "n",
	"edge_route_v1.cache":    "sn",

	"edge_metrics_v1.define":  "ns",
	"edge_metrics_v1.add":     "nN",
	"edge_metrics_v1.set":     "nN",
	"edge_metrics_v1.observe": "nN",

	"edge_sched_v1.every":      "n",
	"edge_sched_v1.queue_push": "s",
	"edge_sched_v1.queue_pop":  "o",

	"edge_php_v1.call":         "sssn",
	"edge_php_v1.status":       "n",
	"edge_php_v1.header":       "nso",
	"edge_php_v1.header_names": "no",
	"edge_php_v1.read":         "no",
	"edge_php_v1.close":        "n",
}

// width is how many parameters a letter stands for.
func width(letter rune) int {
	if letter == 's' || letter == 'o' {
		return 2
	}
	return 1
}

// args writes the parameters of a call, but for where the result goes to.
func (s callShape) args(mem api.Memory, params []uint64) []string {
	var args []string
	for _, letter := range s {
		switch letter {
		case 's':
			args = append(args, traceText(mem, params[0], params[1]))
		case 'n':
			args = append(args, strconv.Itoa(int(int32(uint32(params[0])))))
		case 'N':
			args = append(args, strconv.FormatInt(int64(params[0]), 10))
		case 'k':
			args = append(args, kindName(uint32(params[0])))
		}
		params = params[width(letter):]
	}
	return args
}

// result writes what a call returned, as raw and as the number n that it is: that, or what is in the buffer.
func (s callShape) result(mem api.Memory, params []uint64, raw uint64, n int64) string {
	at := 0
	for _, letter := range s {
		if letter != 'o' {
			at += width(letter)
			continue
		}
		length, capacity := uint64(uint32(raw)), uint64(uint32(params[at+1]))
		if length > capacity {
			return fmt.Sprintf("%d bytes, the buffer has %d", length, capacity)
		}
		return traceText(mem, params[at], length)
	}
	return strconv.FormatInt(n, 10)
}

// traceShown is how much of a text a trace shows.
const traceShown = 64

// traceText quotes a text of the guest; a list, whose items end with a NUL, is shown as one.
func traceText(mem api.Memory, ptr, n uint64) string {
	if uint32(n) == 0 {
		return `""`
	}
	shown := min(uint32(n), traceShown)
	b, ok := mem.Read(uint32(ptr), shown)
	if !ok {
		return fmt.Sprintf("a pointer outside of memory (%d, %d bytes)", uint32(ptr), uint32(n))
	}
	text := strconv.Quote(string(b))
	if items, list := strings.CutSuffix(string(b), "\x00"); list {
		text = fmt.Sprintf("%q", strings.Split(items, "\x00"))
	}
	if shown < uint32(n) {
		text += fmt.Sprintf("… (%d bytes)", uint32(n))
	}
	return text
}

func kindName(kind uint32) string {
	names := [...]string{"request", "response", "request trailers", "response trailers"}
	if kind < uint32(len(names)) {
		return names[kind]
	}
	return strconv.Itoa(int(kind))
}
