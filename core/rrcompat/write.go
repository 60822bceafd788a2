package rrcompat

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// document is the edge.yaml that is being made: a mapping whose keys keep the order in which they were set.
type document struct{ node *yaml.Node }

func newDocument() document { return document{&yaml.Node{Kind: yaml.MappingNode}} }

// section returns the mapping at key, which it makes when it is not there.
func (d document) section(key string) document {
	for i := 0; i < len(d.node.Content); i += 2 {
		if d.node.Content[i].Value == key {
			return document{d.node.Content[i+1]}
		}
	}
	s := newDocument()
	d.node.Content = append(d.node.Content, text(key), s.node)
	return s
}

// set adds a value, with a comment behind it when one is given.
func (d document) set(key string, v any, comment ...string) {
	n := scalarNode(v)
	if len(comment) > 0 {
		n.LineComment = "# " + strings.Join(comment, " ")
	}
	d.node.Content = append(d.node.Content, text(key), n)
}

// add appends a mapping to the list at key.
func (d document) add(key string) document {
	s := newDocument()
	for i := 0; i < len(d.node.Content); i += 2 {
		if d.node.Content[i].Value == key {
			d.node.Content[i+1].Content = append(d.node.Content[i+1].Content, s.node)
			return s
		}
	}
	items := &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{s.node}}
	d.node.Content = append(d.node.Content, text(key), items)
	return s
}

func (d document) empty() bool { return len(d.node.Content) == 0 }

func scalarNode(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case string:
		return text(v)
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(v)}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case time.Duration:
		return text(short(v))
	case []string:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, item := range v {
			n.Content = append(n.Content, text(item))
		}
		return n
	case [][2]string:
		n := &yaml.Node{Kind: yaml.MappingNode}
		for _, pair := range v {
			n.Content = append(n.Content, text(pair[0]), text(pair[1]))
		}
		return n
	}
	panic(fmt.Sprintf("rrcompat: %T has no form in YAML", v)) // a bug of this package
}

// text is a string whatever its characters are: the encoder quotes 8080, true and the like.
func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if strings.ContainsAny(s, "${}") {
		n.Style = yaml.DoubleQuotedStyle // a variable must not be typed again once it is expanded
	}
	return n
}

// bytes is the text of the document below a comment.
func (d document) bytes(header string) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(header)
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := errors.Join(e.Encode(d.node), e.Close()); err != nil {
		return nil, fmt.Errorf("write edge.yaml: %w", err)
	}
	return out.Bytes(), nil
}

// printable leaves out what YAML does not allow in a comment.
func printable(r rune) rune {
	if unicode.IsPrint(r) || r == '\t' || r == '\n' {
		return r
	}
	return -1
}

// comment makes lines of a text, each with a # before it.
func comment(indent, text string) string {
	const width = 110
	var out strings.Builder
	line := "#" + indent
	for _, word := range strings.Fields(strings.Map(printable, text)) {
		if len(line)+1+len(word) > width && strings.TrimLeft(line, "# ") != "" {
			out.WriteString(line + "\n")
			line = "#" + indent + " "
		}
		line += " " + word
	}
	return out.String() + line + "\n"
}
