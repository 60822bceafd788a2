package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

func TestEdgeConfiguration(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	type list = []any
	listen := list{object{"address": "127.0.0.1:8080"}}
	answers := list{}
	for _, s := range scenarios {
		if !s.servedBy(edgeRespond) {
			continue
		}
		contentType, body := s.Answer(s.Post)
		answers = append(answers, object{
			"match":   object{"path": s.Path()},
			"respond": object{"body": string(body), "headers": object{"Content-Type": contentType}},
		})
	}
	pool := object{"command": list{"/usr/bin/php", "/a b/worker.php"}, "env": object{"APP_ENV": "prod"}, "user": "www-data", "workers": object{"min": 2, "max": 2}}

	for name, test := range map[string]struct {
		data edgeData
		want object
	}{
		"fixed answers": {
			edgeData{},
			object{"http": object{"listen": listen, "routes": answers}},
		},
		"php": {
			edgeData{Command: []string{"/usr/bin/php", "/a b/worker.php"}, Env: map[string]string{"APP_ENV": "prod"}},
			object{
				"http": object{"listen": listen, "routes": list{object{"match": object{"path": "/*"}, "php": "app"}}},
				"php":  object{"app": pool},
			},
		},
		"wasm and php": {
			edgeData{Command: []string{"/usr/bin/php", "/a b/worker.php"}, Env: map[string]string{"APP_ENV": "prod"}, Guest: "stamp", Module: "/tmp/stamp.wasm"},
			object{
				"http":    object{"listen": listen, "routes": list{object{"match": object{"path": "/*"}, "use": list{"stamp"}, "php": "app"}}},
				"php":     object{"app": pool},
				"plugins": object{"auto": false, "modules": object{"stamp": object{"file": "/tmp/stamp.wasm"}}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			space := testWorkspace(t)
			space.User = "www-data"
			test.data.workspace, test.data.Address, test.data.StateDir = space, "127.0.0.1:8080", "/state"
			test.data.Workers = phpWorkers
			path, err := space.render("edge.yaml", edgeTemplate, test.data)
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var got object
			if err := yaml.Unmarshal(text, &got); err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			test.want["version"], test.want["state_dir"] = 1, "/state"
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s\n%s", diff, text)
			}
		})
	}
}
