package rrcompat

import "strings"

// services: RoadRunner's supervisor of other programs.
func (t *translation) services(service part) {
	if !service.present() {
		return
	}
	out := t.out.section("services") // present, so that RPC may create some
	for _, e := range service.v.entries {
		one := service.section(e.name)
		if !one.present() {
			t.refuse(e, service.path(e.name), "is a section: write command: … below it")
			continue
		}
		t.service(e.name, one, out.section(e.name))
	}
}

func (t *translation) service(name string, one part, out document) {
	command := strings.Fields(one.ref("command"))
	if len(command) == 0 {
		t.refuse(nil, one.path("command"), "is missing: name the program")
		return
	}
	out.set("command", command)
	if n := one.integer("process_num", 1); n > 1 {
		out.set("processes", n)
	}
	// So the key reads in RoadRunner: whether the program is started again after its exit.
	if one.boolean("remain_after_exit", false) {
		wait := max(1, one.integer("restart_sec", 30))
		out.section("backoff").set("min", secondsOf(wait))
		out.section("backoff").set("max", secondsOf(wait))
	} else {
		out.set("restart", "never")
		one.known("restart_sec")
	}
	out.set("stop_signal", "INT")
	if n := one.integer("timeout_stop_sec", 5); n > 0 {
		out.set("stop_timeout", secondsOf(n))
	}
	if d, ok := one.duration("exec_timeout"); ok && d > 0 {
		out.set("exec_timeout", d)
	}
	if user := one.ref("user"); user != "" {
		out.set("user", user)
	}
	var env [][2]string
	for _, pair := range one.pairs("env") {
		env = append(env, [2]string{strings.ToUpper(pair[0]), pair[1]})
	}
	if len(env) > 0 {
		out.set("env", env)
	}
	if one.boolean("service_name_in_log", false) {
		out.set("channel", name)
	}
}
