package redis

import (
	"bufio"
	"strings"
	"testing"

	"github.com/edge-server/edge/ws"
)

// FuzzAnswers reads what a server may answer to a script. The text is a tree: a line that begins with ( opens a list, ) ends it, # is a
// number, and everything else a text.
func FuzzAnswers(f *testing.F) {
	f.Add("(\ne\n7\ne0:5:6;e00:1:1\n#\n(\n(\n7-0\n(\nd\nm\n)\n)\n)\n)")
	f.Add("(\n(\nms\x00c\n(\nann\n)\n)\n(\nws\x00c\n(\n)\n)\n)")
	f.Add("(\nann\n12:{}\nbob\n3:\n)")
	f.Add("(\n(\ns\x00c\nann\n#\n)\n)")
	f.Fuzz(func(t *testing.T, text string) {
		lines := bufio.NewScanner(strings.NewReader(text))
		answer := tree(lines, 0)
		if past, err := parsePast(answer, ws.Position{Epoch: "e", Offset: 3}, 2); err == nil && len(past.Entries) > 2 {
			t.Fatalf("%d entries of 2", len(past.Entries))
		}
		if list, err := parseDepartures(answer); err == nil {
			for _, d := range list {
				if d.Undone {
					t.Fatalf("%+v", d)
				}
			}
		}
		if list, err := parseHeld(answer); err == nil {
			for _, h := range list {
				if h.Watched && h.Channel.Space == "" && h.Channel.Channel == "" && len(h.Users) > len(text) {
					t.Fatalf("%+v", h)
				}
			}
		}
		if members, err := parseMembers(answer); err == nil {
			for _, m := range members {
				if m.Conn != 0 {
					t.Fatalf("%+v", m)
				}
			}
		}
	})
}

func tree(lines *bufio.Scanner, depth int) any {
	for lines.Scan() {
		switch text := lines.Text(); {
		case strings.HasPrefix(text, "(") && depth < 10:
			list := []any{}
			for {
				one := tree(lines, depth+1)
				if one == nil {
					return list
				}
				list = append(list, one)
			}
		case strings.HasPrefix(text, ")"):
			return nil
		case strings.HasPrefix(text, "#"):
			return int64(len(text))
		default:
			return text
		}
	}
	return nil
}
