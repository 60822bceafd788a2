package plugintest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/wasmhost"
)

// wrong is a configuration, as JSON, and what must be in the error: the path of the key and what is the matter.
type wrong struct{ config, want string }

const (
	secret = `{"secret": "a secret that is at least thirty-two bytes long"}`
	digest = `"0000000000000000000000000000000000000000000000000000000000000000"`
)

// wrongs are the ready-made plugins, each with what it must refuse: keys that do not exist, values of a wrong type, what is missing, lists
// without entries, values without sense.
var wrongs = []struct {
	name  string
	build func(t testing.TB, name string) string
	allow wasmhost.Allow
	rows  []wrong
}{
	{"stamp", bareGo, wasmhost.Allow{}, []wrong{
		{`"appended"`, "config: must be the text append, or nothing"},
		{`{"append": true}`, "config: must be the text append"},
		{`["append"]`, "config: must be the text append"},
		{`5`, "config: must be the text append"},
	}},
	{"hardening", bareC, wasmhost.Allow{}, []wrong{
		{`"frist"`, "config: must be the text first, or nothing"},
		{`"first "`, "config: must be the text first"},
		{`{"first": true}`, "config: must be the text first"},
		{`7`, "config: must be the text first"},
	}},
	{"trace-context", plugintest.C, wasmhost.Allow{}, []wrong{
		{`"x"`, "config: it must be an object"},
		{`{"sampel": 5}`, "config.sampel: this key is not known: request_id, trust, response, sample"},
		{`{"sample": "5"}`, "config.sample: a whole number from 0 to 100"},
		{`{"sample": 101}`, "config.sample: a whole number from 0 to 100"},
		{`{"request_id": "a b"}`, "config.request_id: the name of a header"},
	}},
	{"ip-filter", plugintest.C, wasmhost.Allow{}, []wrong{
		{`null`, "config: it must be an object"},
		{`{"list": ["::1"]}`, "config.mode: it is missing"},
		{`{"mode": "block", "list": ["::1"]}`, "config.mode: deny"},
		{`{"mode": "deny", "list": []}`, "config: it needs list, file or geo"},
		{`{"mode": "deny", "list": ["10.0.0.0/99"]}`, "config.list[0]: 10.0.0.0/99: it is no network"},
		{`{"mode": "deny", "lists": ["::1"]}`, "config.lists: this key is not known"},
		{`{"mode": "deny", "list": ["::1"], "status": 200}`, "config.status: a number from 400 to 599"},
		{`{"mode": "deny", "geo": {"fil": "/geo/x"}}`, "config.geo.fil: this key is not known"},
		{`{"mode": "deny", "file": "/geo/list.txt"}`, "config.file: /geo/list.txt: it is in no folder of allow.folders"},
	}},
	{"jwt-auth", plugintest.Go, wasmhost.Allow{Net: []string{"https://issuer.test/*"}}, []wrong{
		{`"secret"`, "config: must be a map of keys"},
		{`{}`, "config.keys: no key and no config.jwks"},
		{`{"keys": []}`, "config.keys: no key and no config.jwks"},
		{`{"keys": {}}`, "config.keys: must be a list"},
		{`{"Keys": [` + secret + `]}`, "config.Keys: there is no such key; there are keys, jwks"},
		{`{"keys": [{"sekret": "x"}]}`, "config.keys[0].sekret: there is no such key; there are kid, alg, secret"},
		{`{"keys": [{"secret": 5}]}`, "config.keys[0].secret: must be a text"},
		{`{"keys": [` + secret + `], "audience": []}`, "config.audience: is empty"},
		{`{"keys": [` + secret + `], "audience": [5]}`, "config.audience: must be a text or a list of texts"},
		{`{"keys": [` + secret + `], "leeway": "30"}`, `config.leeway: "30" is no span of time; write 30s`},
		{`{"keys": [` + secret + `], "token": {"heder": "x"}}`, "config.token.heder: there is no such key"},
		{`{"jwks": {"url": "https://issuer.test/keys", "algorithms": []}}`, "config.jwks.algorithms: is empty"},
		{`{"jwks": {"url": "https://issuer.test/keys", "timeout": "10h"}}`, "config.jwks.timeout: 10h0m0s; at most 1m"},
	}},
	{"json-schema", plugintest.Go, wasmhost.Allow{}, []wrong{
		{`"x"`, "config: must be a map of keys"},
		{`{"rules": []}`, "config.rules: no rule"},
		{`{"rules": [{"path": "/a"}]}`, "config.rules[0].schema: it is missing"},
		{`{"rules": [{"path": "/a", "schema": {}, "metods": []}]}`, "config.rules[0].metods: there is no such key; there are methods, path"},
		{`{"rules": [{"path": "/a", "schema": {}, "methods": []}]}`, "config.rules[0].methods: an empty list"},
		{`{"rules": [{"path": "/a", "schema": {}, "status": "400"}]}`, "config.rules[0].status: must be a whole number"},
		{`{"rules": [{"path": "/a", "schema": {"typ": "string"}}]}`, "config.rules[0].schema at #/typ: this keyword is not known"},
		{`{"rules": [{"path": "/a", "schema": {}}], "max_body": "1MiB"}`, "config.max_body: must be a whole number"},
	}},
	{"sign-response", plugintest.Go, wasmhost.Allow{}, []wrong{
		{`{}`, "config.key_id: it is missing"},
		{`{"alg": "rsa", "key_id": "k"}`, `config.alg: "rsa" is neither hmac-sha256 nor ed25519`},
		{`{"alg": "ed25519", "key_id": 5}`, "config.key_id: must be a text"},
		{`{"alg": "ed25519", "key_id": "k", "sekret": "x"}`, "config.sekret: there is no such key; there are alg, key_id"},
		{`{"alg": "hmac-sha256", "key_id": "k", "secret": "x", "components": []}`, "config.components: @status is missing"},
		{`{"alg": "hmac-sha256", "key_id": "k", "secret": "x", "expires": "99999h"}`, `config.expires: "99999h" is no time from 1s`},
		{`{"alg": "ed25519", "key_id": "k", "key_env": "RESPONSE_KEY"}`, "config.key_env: the variable RESPONSE_KEY is empty, or not in allow.env"},
	}},
	{"rate-limit", plugintest.Rust, wasmhost.Allow{KV: []string{"counts"}}, []wrong{
		{`"x"`, "config: must be a map of keys"},
		{`{"stor": "counts", "limit": 5}`, "config.store: is missing: a store of the kv section, which allow.kv must name; what is there: limit, stor"},
		{`{"store": "counts"}`, "config.limit: is missing"},
		{`{"store": "counts", "limit": "5"}`, "config.limit: must be a whole number from 1 to 1000000"},
		{`{"store": "counts", "limit": 0}`, "config.limit: must be a whole number"},
		{`{"store": "counts", "limit": 5, "window": "1w"}`, `config.window: "1w" is no time`},
		{`{"store": "other", "limit": 5}`, `config.store: "other" cannot be opened (denied): open: the store "other" is not granted`},
	}},
	{"api-key", plugintest.Rust, wasmhost.Allow{}, []wrong{
		{`{"keys": []}`, "config.keys: must have at least one entry"},
		{`{"keys": {}}`, "config.keys: must be a list"},
		{`{"keys": [{"name": "a", "sha256": "xyz"}]}`, "config.keys[0].sha256: must be the SHA-256 of the key"},
		{`{"keys": [{"name": "a", "sha256": ` + digest + `, "sha": 1}]}`, "config.keys[0].sha: there is no such key; there are name, sha256"},
		{`{"keys": [{"name": "a", "sha256": ` + digest + `}], "from": []}`, "config.from: is an empty list"},
		{`{"keys": [{"name": "a", "sha256": ` + digest + `}], "optional": "yes"}`, "config.optional: must be true or false"},
	}},
	{"basic-auth", plugintest.Rust, wasmhost.Allow{}, []wrong{
		{`{"users": []}`, "config.users: must have at least one entry"},
		{`{"user": []}`, "what is there: user"},
		{`{"users": [5]}`, "config.users[0]: must be a map of keys"},
		{`{"users": [{"name": "a", "pasword": "x"}]}`, "config.users[0].password: is missing: pbkdf2-sha256:ROUNDS:SALT:HASH, see the README for how to make one; what is there: pasword"},
		{`{"users": [{"name": "a", "password": "secret"}]}`, "config.users[0].password: must be pbkdf2-sha256"},
		{`{"users": [{"name": "a", "password": "pbkdf2-sha256:999999999:0011:00"}]}`, "config.users[0].password: ROUNDS must be a number"},
	}},
	{"html-rewrite", plugintest.Rust, wasmhost.Allow{}, []wrong{
		{`{"rules": []}`, "config.rules: is missing, and so are text and links"},
		{`{"rules": [{"select": "h1", "befor": "x"}]}`, "config.rules[0].befor: there is no such key; there are select, before"},
		{`{"rules": [{"select": "h1", "before": 5}]}`, "config.rules[0].before: must be a text"},
		{`{"rules": [{"select": "h1", "set": {}}]}`, "config.rules[0].select: there is nothing to do with it"},
		{`{"text": [{"find": "x"}]}`, "config.text[0].replace: is missing"},
		{`{"text": "x"}`, "config.text: must be a list"},
	}},
	{"rewrite", plugintest.AssemblyScript, wasmhost.Allow{}, []wrong{
		{`{"rules": []}`, "config.rules: must be a list of at least one rule"},
		{`{"rule": []}`, "config.rule: there is no such key; there is rules"},
		{`{"rules": [{"path": "/a"}]}`, "config.rules[0]: needs either rewrite or redirect"},
		{`{"rules": [{"path": 5, "rewrite": "/b"}]}`, "config.rules[0].path: must be a text"},
		{`{"rules": [{"host": "", "rewrite": "/b"}]}`, "config.rules[0].host: must be a text of 1 to 1024 characters"},
		{`{"rules": [{"path": "/a", "rewrite": "/b", "methods": []}]}`, "config.rules[0].methods: must be a list such as [GET, HEAD]"},
		{`{"rules": [{"path": "/a", "rewrite": "/b", "methods": ["G T"]}]}`, "config.rules[0].methods[0]: must be a method"},
		{`{"rules": [{"path": "/a", "redirect": "/b", "status": 200}]}`, "config.rules[0].status: must be 301, 302, 307 or 308"},
	}},
	{"canary-router", plugintest.JS, wasmhost.Allow{}, []wrong{
		{`{"canaries": []}`, "config.canaries: must be a list of 1 to 50 canaries"},
		{`{"canarys": []}`, "config.canarys: there is no such key; there is canaries"},
		{`{"canaries": [{"to": "x"}]}`, "config.canaries[0].weight: must be a number from 0 to 100"},
		{`{"canaries": [{"weight": "5", "to": "x"}]}`, "config.canaries[0].weight: must be a number"},
		{`{"canaries": [{"weight": 5, "to": ""}]}`, "config.canaries[0].to: is empty"},
		{`{"canaries": [{"weight": 5, "too": "x"}]}`, "config.canaries[0].too: there is no such key"},
	}},
	{"ab-router", plugintest.JS, wasmhost.Allow{}, []wrong{
		{`{"tests": []}`, "config.tests: must be a list of 1 to 20 tests"},
		{`{"test": []}`, "config.test: there is no such key; there are tests"},
		{`{"tests": [{"name": "a", "variants": []}]}`, "config.tests[0].variants: must be a list of 2 to 20 variants"},
		{`{"tests": [{"name": "a", "max_age": "1d", "variants": [{"name": "x"}, {"name": "y"}]}]}`, "config.tests[0].max_age: must be a number"},
		{`{"tests": [{"name": "a", "variants": [{"name": "x"}, {"name": "y", "to": ""}]}]}`, "config.tests[0].variants[1].to: is empty"},
		{`{"tests": [{"name": "a", "variants": [{"name": "x"}, {"name": "y"}]}, {"name": "a", "variants": [{"name": "x"}, {"name": "y"}]}]}`, `config.tests: two of them have the name "a"`},
	}},
	{"chat-room", plugintest.JS, wasmhost.Allow{KV: []string{"chat"}, Publish: []string{"room.*"}}, []wrong{
		{`5`, "config: must be a map of keys"},
		{`{"history": "many"}`, "config.history: must be a number from 0 to 200"},
		{`{"histroy": 5}`, "config.histroy: there is no such key; there are store, history"},
		{`{"keep": 24}`, "config.keep: must be a number of s, m, h or d"},
		{`{"store": 5}`, "config.store: must be the name of a store"},
		{`{"store": "other"}`, `config.store: open: the store "other" is not granted`},
	}},
	{"maintenance", plugintest.Zig, wasmhost.Allow{}, []wrong{
		{`"x"`, "config: must be a map of keys"},
		{`{"enable": true}`, "config.enable: there is no such key; there are enabled, addresses"},
		{`{"enabled": "yes"}`, "config.enabled: must be true or false"},
		{`{"addresses": ["127.0.0.1/99"]}`, `config.addresses: "127.0.0.1/99" is neither an address nor a network`},
		{`{"paths": ["health"]}`, `config.paths: "health" is no path`},
		{`{"status": 200}`, "config.status: must be a whole number from 400 to 599"},
	}},
	{"bot-filter", plugintest.Zig, wasmhost.Allow{}, []wrong{
		{`{"rules": []}`, "config.rules: must have at least one rule"},
		{`{"rules": "x"}`, "config.rules: must be a list"},
		{`{"rules": [{"name": "a", "action": "blok", "list": "ai"}]}`, "config.rules[0].action: must be block, tag or allow"},
		{`{"rules": [{"name": "a", "action": "block", "agents": []}]}`, "config.rules[0]: needs agents, a list, or empty: true"},
		{`{"rules": [{"name": "a", "action": "block", "agent": ["x"]}]}`, "config.rules[0].agent: there is no such key"},
		{`{"rules": [{"name": "a", "action": "block", "list": "ai"}], "status": 99}`, "config.status: must be a whole number from 400 to 599"},
	}},
	{"kv-lru", plugintest.Rust, wasmhost.Allow{}, []wrong{
		{`"x"`, "config: must be a map of keys"},
		{`{"max_size": 5}`, "config.max_size: must be a text"},
		{`{"max_size": "5TiB"}`, `config.max_size: "5TiB" is not a size from 64KiB to 3GiB`},
		{`{"maxsize": "5MiB"}`, "config.maxsize: there is no such key; there are max_size, when_full"},
		{`{"when_full": "explode"}`, `config.when_full: "explode" is none of: evict, refuse`},
	}},
	{"kv-rest", plugintest.Rust, wasmhost.Allow{Net: []string{"https://host.test/*"}}, []wrong{
		{`{"url": "https://host.test"}`, "config.token: is missing"},
		{`{"url": "https://", "token": "x"}`, `config.url: "https://" is not https://HOST`},
		{`{"url": "https://host.test", "token": 5}`, "config.token: must be a text"},
		{`{"url": "https://host.test", "token": "x", "timeout": "1h"}`, "config.timeout: 1h is not between"},
		{`{"url": "https://host.test", "token": "x", "tiemout": "1s"}`, "config.tiemout: there is no such key"},
	}},
	{"kv-redis", plugintest.Go, wasmhost.Allow{Net: []string{"tcp://redis.test:6379"}}, []wrong{
		{`{}`, `config.address: "" is not host:port`},
		{`"x"`, "config: must be a map of keys"},
		{`{"address": "redis.test:99999"}`, `config.address: "redis.test:99999" is not host:port`},
		{`{"address": "redis.test:6379", "db": "0"}`, "config.db: must be a whole number"},
		{`{"address": "redis.test:6379", "timeout": "1h"}`, `config.timeout: "1h" is not a time from 1ms to 1m`},
		{`{"address": "redis.test:6379", "tsl": true}`, "config.tsl: there is no such key; there are address, tls"},
	}},
}

func bareGo(t testing.TB, name string) string { return testenv.GoGuest(t, "./plugins-wasm/"+name) }

func bareC(t testing.TB, name string) string {
	return testenv.CGuest(t, "plugins-wasm/"+name+"/"+name+".c")
}

// TestWrongConfiguration: each ready-made plugin refuses what is wrong when it is loaded, a store when it is opened, with its name, the key,
// the reason and what to write instead. None of them traps.
func TestWrongConfiguration(t *testing.T) {
	t.Parallel()
	for _, tt := range wrongs {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			module := tt.build(t, tt.name)
			for _, row := range tt.rows {
				var config any
				if err := json.Unmarshal([]byte(row.config), &config); err != nil {
					t.Fatalf("%s: %v", row.config, err)
				}
				var err error
				if strings.HasPrefix(tt.name, "kv-") {
					_, err = plugintest.TryStore(t, module, config, plugintest.Allow(tt.allow))
				} else {
					_, err = plugintest.TryLoad(t, module, config, plugintest.Allow(tt.allow))
				}
				switch {
				case err == nil:
					t.Errorf("%s is accepted; want %s", row.config, row.want)
				case !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), `"plugin"`):
					t.Errorf("%s: %v\nwant the name of the plugin and: %s", row.config, err, row.want)
				case strings.Contains(err.Error(), "wasm error") || strings.Contains(err.Error(), "unreachable"):
					t.Errorf("%s traps: %v", row.config, err)
				}
			}
		})
	}
}
