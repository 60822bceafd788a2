package rrcompat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options say for whom a configuration is translated.
type Options struct {
	// KeepVariables leaves the variables of texts as references: for a file that people keep. Numbers are always resolved.
	KeepVariables bool

	// CPUs is what num_workers: 0 means.
	CPUs int
}

// Result is a configuration in Edge's words.
type Result struct {
	// EdgeYAML is the text of an edge.yaml.
	EdgeYAML []byte

	// Findings are what changed on the way. Warnings among them lose something.
	Findings []Finding

	// Logs is RoadRunner's logs section, for a server that looks like RoadRunner.
	Logs Logs

	// AccessLogs is http.access_logs: whether the record of a request has the fields of an access log, too.
	AccessLogs bool

	// OnInit is the command that runs before the start; nil without one.
	OnInit *OnInit

	// Watchdog is endure.watchdog_sec: how often systemd wants to hear; 0: never.
	Watchdog time.Duration
}

// Finding is something of the configuration that does not mean in Edge what it means in RoadRunner.
type Finding struct {
	Key     string // http.ssl.acme
	Text    string // what that means, and where it stands
	Warning bool   // something is lost; else it is only different
}

func (f Finding) String() string { return f.Key + ": " + f.Text }

// Translate says in edge.yaml what c means. The error lists everything that Edge cannot serve without doing wrong.
func (c *Config) Translate(o Options) (*Result, error) {
	t := &translation{c: c, o: o, out: newDocument()}
	root := part{t: t, v: &c.root}
	root.known("version", "include")

	t.out.set("version", 1)
	t.server(root)
	t.log(root.section("logs"))
	t.http(root)
	t.pool(root)
	t.rpc(root)
	t.stores(root)
	t.metrics(root.section("metrics"))
	t.status(root.section("status"))
	t.otel(root.section("otel"))
	t.services(root.section("service"))
	t.endure(root.section("endure"))
	t.elsewhere(root)
	unread(&c.root, "", func(key string, e *entry) {
		t.warn(key, "RoadRunner has no such key, or Edge does not know it: it has no effect")
	})
	if err := errors.Join(append(t.errs, t.misspelt()...)...); err != nil {
		return nil, err
	}
	c.origins = t.origins
	text, err := t.out.bytes(t.header())
	if err != nil {
		return nil, err
	}
	t.result.EdgeYAML = text
	return &t.result, nil
}

// translation is one Translate under way.
type translation struct {
	c      *Config
	o      Options
	out    document
	result Result
	errs   []error
	said   map[string]bool

	missing []string          // keys without which nothing starts
	origins map[string]string // keys of edge.yaml by those of RoadRunner, where that depends on what else is set
}

// miss refuses a configuration without a key.
func (t *translation) miss(key, format string, args ...any) {
	t.missing = append(t.missing, key)
	t.refuse(nil, key, "is missing: "+format, args...)
}

// misspelt are the unknown keys beside those that are missing: -o server.comand=php is not heard of otherwise.
func (t *translation) misspelt() []error {
	var errs []error
	var stores value // a section at the top may be the configuration of one
	if kv := t.c.root.find("kv"); kv != nil {
		stores = kv.value
	}
	unread(&t.c.root, "", func(key string, e *entry) {
		section, _, below := strings.Cut(key, ".")
		for _, missing := range t.missing {
			parent := missing[:max(0, strings.LastIndexByte(missing, '.'))]
			if key[:max(0, strings.LastIndexByte(key, '.'))] == parent || !below && stores.find(section) == nil {
				where := at(e)
				if e.at == "-o "+key {
					where = "-o "
				}
				errs = append(errs, fmt.Errorf("%s%s: RoadRunner has no such key, or Edge does not know it: is it a misspelling?", where, key))
				return
			}
		}
	})
	return errs
}

// from notes which key of RoadRunner a key of edge.yaml was made of.
func (t *translation) from(edge, roadRunner string) {
	if t.origins == nil {
		t.origins = map[string]string{}
	}
	t.origins[edge] = roadRunner
}

func (t *translation) expand(text string) string { return expand(text, t.c.lookup) }

// ref is a text for edge.yaml.
func (t *translation) ref(text string) string {
	if t.o.KeepVariables {
		return reference(text)
	}
	return escape(t.expand(text))
}

// refuse notes a mistake in the configuration, or something that must not be left away.
func (t *translation) refuse(e *entry, key, format string, args ...any) {
	where := ""
	if e != nil {
		where = at(e)
		if e.at == "-o "+key {
			where = "-o "
		}
	}
	err := fmt.Errorf("%s%s: %s", where, key, fmt.Sprintf(format, args...))
	known := func(other error) bool { return other.Error() == err.Error() }
	if !slices.ContainsFunc(t.errs, known) { // a value may be asked for more than once
		t.errs = append(t.errs, err)
	}
}

// warn says that something is lost.
func (t *translation) warn(key, format string, args ...any) {
	t.find(Finding{Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}

// note says that something is different.
func (t *translation) note(key, format string, args ...any) {
	t.find(Finding{Key: key, Text: fmt.Sprintf(format, args...)})
}

// find keeps one finding for each key.
func (t *translation) find(f Finding) {
	if t.said == nil {
		t.said = map[string]bool{}
	}
	if !t.said[f.Key] {
		t.said[f.Key] = true
		t.result.Findings = append(t.result.Findings, f)
	}
}

// fixed notes that a variable was resolved where edge.yaml could not keep it.
func (t *translation) fixed(e *entry, key string) {
	if t.o.KeepVariables && strings.Contains(e.text, "$") {
		t.note(key, "was %s and is now what that was on the day of the migration", e.text)
	}
}

// header tells the reader of a migrated file what is not in it.
func (t *translation) header() string {
	var out strings.Builder
	fmt.Fprintf(&out, "# What %s says, in the words of edge.yaml. docs/roadrunner.md has the whole table.\n", t.c.name)
	for _, list := range []struct {
		title   string
		warning bool
	}{
		{"Has no counterpart yet:", true}, {"Is different:", false},
	} {
		title := "#\n# " + list.title + "\n"
		for _, f := range t.result.Findings {
			if f.Warning == list.warning {
				out.WriteString(title + comment("  ", f.String()))
				title = ""
			}
		}
	}
	return out.String() + "\n"
}

// sections are what RoadRunner has and Edge has not, or has elsewhere. What is not here and not read is unknown.
var sections = []struct{ names, text string }{
	{"jobs", "Edge has no job queues yet: nothing is consumed, and jobs.* calls fail. They are planned"},
	{"amqp beanstalk sqs nats kafka google_pub_sub", "is a driver of jobs, which Edge does not have yet"},
	{"grpc", "Edge has no gRPC front for PHP yet: nothing listens there. It is planned after jobs"},
	{"temporal", "Edge does not run Temporal workers, and nobody works on it"},
	{"tcp", "Edge has no TCP servers for PHP yet, and nobody works on it"},
	{"centrifuge", "Edge does not speak to Centrifugo: the section ws of edge.yaml is a WebSocket hub of its own (Pusher, Mercure, raw; docs/websockets.md)"},
	{"websockets broadcast", "RoadRunner has dropped this plugin, too: the section ws of edge.yaml is a WebSocket hub (Pusher, Mercure, raw; docs/websockets.md)"},
	{"fileserver", "no listener of its own is opened: write a route with `files: {root: …, strip: /prefix}` in edge.yaml"},
	{"reload", "RoadRunner has dropped this plugin, too: write php.http.watch in edge.yaml, or start with http.pool.debug"},
	{"envfile", "is not read: start with --dotenv FILE"},
	{"new_relic newrelic", "is not part of RoadRunner any more, and not of Edge"},
}

func (t *translation) elsewhere(root part) {
	for _, s := range sections {
		for _, name := range strings.Fields(s.names) {
			if root.v.find(name) != nil {
				root.known(name)
				t.warn(name, "%s", s.text)
			}
		}
	}
	root.known("lock", "app", "informer", "resetter") // always on, without configuration
}

// endure is RoadRunner's container.
func (t *translation) endure(endure part) {
	t.idle(endure, "log_level", "has no effect: there is no container whose log it could be; logs.level is that of the server")
	t.idle(endure, "print_graph", "has no effect: there is no container, and no graph of it")
	endure.known("grace_period")
	t.result.Watchdog = time.Duration(endure.integer("watchdog_sec", 0)) * time.Second
}

// idle notes a key that nothing here depends on, and why.
func (t *translation) idle(p part, name, why string) {
	if p.has(name) {
		t.note(p.path(name), "%s", why)
	}
	p.known(name)
}
