package rrcompat

import (
	"strings"
	"time"
)

// OnInit is server.on_init: a command that runs once, before the workers.
type OnInit struct {
	Command     []string
	Env         []string // NAME=value
	Timeout     time.Duration
	User        string
	ExitOnError bool
}

// server reads the parts of the server section that are not the workers'.
func (t *translation) server(root part) {
	if wait, ok := t.shutdown(root); ok {
		t.out.set("shutdown_timeout", wait)
	}
	init := root.section("server").section("on_init")
	if !init.present() {
		return
	}
	// on_init runs here and now: it wants values and not references.
	on := OnInit{
		Command: init.texts("command"), Timeout: time.Minute,
		User: init.text("user"), ExitOnError: init.boolean("exit_on_error", false),
	}
	if d, ok := init.duration("exec_timeout"); ok {
		on.Timeout = d
	}
	for _, pair := range init.pairs("env") {
		on.Env = append(on.Env, strings.ToUpper(pair[0])+"="+strings.ReplaceAll(pair[1], "$${", "${"))
	}
	if len(on.Command) == 0 {
		t.refuse(nil, init.path("command"), "is missing: name the command, or take on_init away")
		return
	}
	t.result.OnInit = &on
	if t.o.KeepVariables {
		t.warn("server.on_init", "`%s` does not run: start it before Edge, such as by ExecStartPre in systemd", strings.Join(on.Command, " "))
	}
}

// shutdown is how long a stop waits: RoadRunner has two bounds for it, of which the pool's decides over requests.
func (t *translation) shutdown(root part) (time.Duration, bool) {
	grace, hasGrace := root.section("endure").duration("grace_period")
	destroy, hasDestroy := root.section("http").section("pool").duration("destroy_timeout")
	if hasDestroy && destroy > 0 {
		return destroy, true
	}
	return grace, hasGrace && grace > 0
}
