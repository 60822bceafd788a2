package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/edge-server/edge/core"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page, edge.1",
		Example: `  edge man | man -l -
  edge man | sudo tee /usr/local/share/man/man1/edge.1 > /dev/null`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeMan(cmd.OutOrStdout(), cmd.Root()) },
	}
}

// manual is a page in the language of man(7).
type manual struct{ strings.Builder }

func writeMan(out io.Writer, root *cobra.Command) error {
	m := &manual{}
	date := time.Now().Format(time.DateOnly)
	if built, err := time.Parse(time.RFC3339, buildTime()); err == nil {
		date = built.Format(time.DateOnly)
	}
	fmt.Fprintf(m, ".TH EDGE 1 %q %q %q\n", date, "Edge "+core.Version, "Edge")
	m.section("NAME")
	m.line("edge \\- " + escape(strings.ToLower(root.Short[:1])+root.Short[1:]))
	m.section("SYNOPSIS")
	m.line(".B edge\n[\\fB\\-c\\fR \\fIFILE\\fR] \\fICOMMAND\\fR [\\fIFLAGS\\fR] [\\fIARGUMENTS\\fR]")
	m.section("DESCRIPTION")
	m.prose(root.Long)
	m.section("EXAMPLES")
	m.example(root.Example)
	m.section("OPTIONS OF EVERY COMMAND")
	m.flags(root.PersistentFlags())
	m.section("COMMANDS")
	for _, cmd := range root.Commands() {
		m.command(cmd)
	}
	m.section("FILES")
	m.item("edge.yaml", "The configuration: docs/config.md, and \"edge schema\" for editors.")
	m.item(".edge", "The state folder beside it (state_dir): the local CA, the compile cache of plugins, admin.sock, rpc.sock.")
	m.section("ENVIRONMENT")
	m.item("EDGE_SECTION__KEY", "Variables that begin with EDGE_ and have two underscores are configuration, and win over the file: EDGE_HTTP__LISTEN='[{address: \":9090\"}]'.")
	m.section("SIGNALS")
	m.item("SIGTERM, SIGINT", "\"edge serve\" finishes the requests in flight and ends; a second one ends it at once.")
	m.item("SIGHUP", "\"edge serve\" reads edge.yaml again, as \"edge reload\" does.")
	m.section("EXIT STATUS")
	m.fill("0 when done, 1 when not; \"edge kv\" and \"edge ws\" have 2 for what is not there.")
	_, err := io.WriteString(out, m.String())
	return err
}

// command describes a command that does something, and those below it.
func (m *manual) command(cmd *cobra.Command) {
	if cmd.Hidden || cmd.Name() == "help" {
		return
	}
	if cmd.Name() == "completion" { // whose text is long, and the same for every program
		m.line(".SS edge completion [bash|zsh|fish|powershell]")
		m.fill("Print the completion of commands, flags and names for a shell; edge completion bash --help says where to put it.")
		return
	}
	if cmd.Runnable() {
		fmt.Fprintf(m, ".SS %s\n", escape(cmd.UseLine()))
	} else {
		fmt.Fprintf(m, ".SS %s\n", escape(cmd.CommandPath()))
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	m.prose(text)
	m.flags(cmd.LocalNonPersistentFlags())
	if cmd.HasExample() {
		m.line(".PP")
		m.line("For example:")
		m.example(cmd.Example)
	}
	for _, sub := range cmd.Commands() {
		m.command(sub)
	}
}

func (m *manual) section(title string) { fmt.Fprintf(m, ".SH %s\n", title) }

func (m *manual) line(text string) { m.WriteString(text + "\n") }

func (m *manual) item(name, text string) {
	fmt.Fprintf(m, ".TP\n.B %s\n", escape(name))
	m.fill(text)
}

// fill writes a paragraph in lines as short as man(7) wants its source to be.
func (m *manual) fill(text string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if word = escape(word); line != "" && len(line)+len(word) >= 78 {
			m.line(line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	m.line(line)
}

func (m *manual) flags(set *pflag.FlagSet) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(m, ".TP\n\\fB%s\\fR", escape(name))
		if value != "" {
			fmt.Fprintf(m, " \\fI%s\\fR", escape(value))
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		m.line("")
		m.fill(usage)
	})
}

// prose writes paragraphs; lines that are indented are shown as they are.
func (m *manual) prose(text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			m.line(".PP")
			m.example(paragraph)
			continue
		}
		if i > 0 {
			m.line(".PP")
		}
		m.fill(paragraph)
	}
}

func (m *manual) example(text string) {
	m.line(".RS 4\n.nf")
	for line := range strings.Lines(text) {
		m.line(escape(strings.TrimPrefix(strings.TrimRight(line, "\n"), "  ")))
	}
	m.line(".fi\n.RE")
}

// escape takes from characters what they mean to man(7).
func escape(text string) string {
	var b strings.Builder
	for _, c := range text {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c == '\'':
			b.WriteString(`\(aq`)
		case c == '`':
			b.WriteString(`\(ga`)
		case c == '^' || c == '~':
			b.WriteString(map[rune]string{'^': `\(ha`, '~': `\(ti`}[c])
		case c > '~':
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	if strings.HasPrefix(text, ".") {
		return `\&` + b.String()
	}
	return b.String()
}
