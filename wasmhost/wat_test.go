package wasmhost_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// wat is a guest in WebAssembly text: what its functions do, with the imports of http_handler and helpers around it.
// (str "text") stands for pointer and length of a constant.
type wat struct {
	imports  string // besides http_handler
	start    string // _initialize
	request  string // handle_request, an i64 on the stack at the end; default: pass on
	response string // handle_response, with locals $ctx and $err; default: a body that is not empty
	more     string // functions, globals
}

const (
	pass = "(i64.const 1)"
	done = "(i64.const 0)"
)

var strConst = regexp.MustCompile(`\(str "([^"]*)"\)`)

// compile assembles the guest.
func (g wat) compile(t testing.TB) []byte {
	t.Helper()
	if g.request == "" {
		g.request = pass
	}
	if g.response == "" {
		g.response = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))"
	}
	body := fmt.Sprintf(`
	(func (export "_initialize") (local $n i32) (local $r i64) %s)
	(func (export "handle_request") (result i64) (local $n i32) (local $r i64) %s)
	(func (export "handle_response") (param $ctx i32) (param $err i32) (local $n i32) (local $r i64) %s)
	%s`, g.start, g.request, g.response, g.more)

	// Constants lie from 32768 on; guests use what is below as buffer.
	var data strings.Builder
	at := 32768
	body = strConst.ReplaceAllStringFunc(body, func(m string) string {
		text := strConst.FindStringSubmatch(m)[1]
		fmt.Fprintf(&data, "\t(data (i32.const %d) \"%s\")\n", at, text)
		length := len(regexp.MustCompile(`\\[0-9a-f]{2}`).ReplaceAllString(text, "x"))
		out := fmt.Sprintf("(i32.const %d) (i32.const %d)", at, length)
		at += length + 1
		return out
	})
	return compileWAT(t, "(module\n"+watImports+g.imports+`
	(memory (export "memory") 2)
	(global $calls (mut i32) (i32.const 0))
	`+data.String()+watHelpers+body+")")
}

const watImports = `
	(import "http_handler" "enable_features" (func $enable_features (param i32) (result i32)))
	(import "http_handler" "get_config" (func $get_config (param i32 i32) (result i32)))
	(import "http_handler" "log_enabled" (func $log_enabled (param i32) (result i32)))
	(import "http_handler" "log" (func $log (param i32 i32 i32)))
	(import "http_handler" "get_method" (func $get_method (param i32 i32) (result i32)))
	(import "http_handler" "set_method" (func $set_method (param i32 i32)))
	(import "http_handler" "get_uri" (func $get_uri (param i32 i32) (result i32)))
	(import "http_handler" "set_uri" (func $set_uri (param i32 i32)))
	(import "http_handler" "get_protocol_version" (func $get_protocol_version (param i32 i32) (result i32)))
	(import "http_handler" "get_source_addr" (func $get_source_addr (param i32 i32) (result i32)))
	(import "http_handler" "get_header_names" (func $get_header_names (param i32 i32 i32) (result i64)))
	(import "http_handler" "get_header_values" (func $get_header_values (param i32 i32 i32 i32 i32) (result i64)))
	(import "http_handler" "set_header_value" (func $set_header_value (param i32 i32 i32 i32 i32)))
	(import "http_handler" "add_header_value" (func $add_header_value (param i32 i32 i32 i32 i32)))
	(import "http_handler" "remove_header" (func $remove_header (param i32 i32 i32)))
	(import "http_handler" "read_body" (func $read_body (param i32 i32 i32) (result i64)))
	(import "http_handler" "write_body" (func $write_body (param i32 i32 i32)))
	(import "http_handler" "get_status_code" (func $get_status_code (result i32)))
	(import "http_handler" "set_status_code" (func $set_status_code (param i32)))
`

// watHelpers: $say_list writes a list of names or values, NULs as commas, as the value of a response header;
// $chunks reads a body in pieces and returns its length in 0…; $echo_int makes a three-digit number.
const watHelpers = `
	(func $say_list (param $r i64) (param $name i32) (param $name_len i32)
		(local $i i32) (local $len i32)
		(local.set $len (i32.wrap_i64 (local.get $r)))
		(block $end (loop $next
			(br_if $end (i32.ge_u (local.get $i) (local.get $len)))
			(if (i32.eqz (i32.load8_u (local.get $i))) (then (i32.store8 (local.get $i) (i32.const 44))))
			(local.set $i (i32.add (local.get $i) (i32.const 1)))
			(br $next)))
		(call $set_header_value (i32.const 1) (local.get $name) (local.get $name_len) (i32.const 0) (local.get $len)))
	(func $chunks (param $kind i32) (param $size i32) (result i32)
		(local $at i32) (local $r i64)
		(loop $next
			(local.set $r (call $read_body (local.get $kind) (local.get $at) (local.get $size)))
			(local.set $at (i32.add (local.get $at) (i32.wrap_i64 (local.get $r))))
			(br_if $next (i64.eqz (i64.shr_u (local.get $r) (i64.const 32)))))
		(local.get $at))
	(func $upper (param $len i32)
		(local $i i32)
		(block $end (loop $next
			(br_if $end (i32.ge_u (local.get $i) (local.get $len)))
			(if (i32.ge_u (i32.load8_u (local.get $i)) (i32.const 97))
				(then (i32.store8 (local.get $i) (i32.sub (i32.load8_u (local.get $i)) (i32.const 32)))))
			(local.set $i (i32.add (local.get $i) (i32.const 1)))
			(br $next))))
	(func $status_text (param $code i32) (result i32 i32)
		(i32.store8 (i32.const 60000) (i32.add (i32.const 48) (i32.div_u (local.get $code) (i32.const 100))))
		(i32.store8 (i32.const 60001) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $code) (i32.const 10)) (i32.const 10))))
		(i32.store8 (i32.const 60002) (i32.add (i32.const 48) (i32.rem_u (local.get $code) (i32.const 10))))
		(i32.const 60000) (i32.const 3))
`
