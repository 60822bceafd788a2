package configschema

import (
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/configfile"
)

// readReference returns what the comments of edge.yaml say about keys, written as configfile.Keys does.
func readReference(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(configfile.Documented(text), &document); err != nil {
		return nil, err
	}
	comments := map[string]string{}
	keys := configfile.Keys(core.Config{})
	entries := map[string]bool{} // sections whose keys are names
	for _, key := range keys {
		if section, found := strings.CutSuffix(key, ".*"); found {
			entries[section] = true
		}
		for at := strings.Index(key, ".*."); at >= 0; {
			entries[key[:at]] = true
			next := strings.Index(key[at+2:], ".*.")
			if next < 0 {
				break
			}
			at += 2 + next
		}
	}
	collect(document.Content[0], "", entries, comments)
	return comments, nil
}

var marks = regexp.MustCompile(`(?m)^#:? ?`)

func collect(n *yaml.Node, key string, entries map[string]bool, comments map[string]string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, value := n.Content[i], n.Content[i+1]
			inner := name.Value
			if entries[key] {
				inner = "*"
			}
			if key != "" {
				inner = key + "." + inner
			}
			text := name.LineComment
			if text == "" {
				text = value.LineComment
			}
			if comments[inner] == "" {
				comments[inner] = marks.ReplaceAllString(text, "")
			}
			collect(value, inner, entries, comments)
		}
	case yaml.SequenceNode:
		for _, element := range n.Content {
			collect(element, key+"[]", entries, comments)
		}
	}
}
