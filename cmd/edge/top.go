package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/bytesize"
)

func topCommand(config *string) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch the running server: requests, latency, workers, plugins, stores, connections",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return fmt.Errorf("--every: must be at least 100ms, got %s", every)
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			if _, err := c.Overview(cmd.Context()); err != nil {
				return err // before the screen is taken
			}
			m := &topModel{ask: func() (admin.Overview, error) { return c.Overview(cmd.Context()) }, every: every, width: 80, height: 24}
			_, err = tea.NewProgram(m, tea.WithContext(cmd.Context()), tea.WithInput(cmd.InOrStdin()), tea.WithOutput(cmd.OutOrStdout()), tea.WithAltScreen()).Run()
			return err
		},
	}
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often to look")
	return cmd
}

// topModel is the screen: the last two looks at the server, of which one is subtracted from the other.
type topModel struct {
	ask   func() (admin.Overview, error)
	every time.Duration

	before, now   admin.Overview
	problem       error
	paused        bool
	offset        int // lines scrolled
	width, height int
}

// looked is the answer to a look at the server.
type looked struct {
	overview admin.Overview
	err      error
}

type tick struct{}

// Init looks at once.
func (m *topModel) Init() tea.Cmd { return m.look }

func (m *topModel) look() tea.Msg {
	o, err := m.ask()
	return looked{o, err}
}

// Update takes keys, sizes and looks.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			return m, tea.Quit
		case " ", "p":
			m.paused = !m.paused
		case "down", "j":
			m.offset++
		case "up", "k":
			m.offset = max(0, m.offset-1)
		}
	case looked:
		if m.problem = msg.err; msg.err == nil && !m.paused {
			m.before, m.now = m.now, msg.overview
		}
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return tick{} })
	case tick:
		return m, m.look
	}
	return m, nil
}

// View draws as much as the screen has room for.
func (m *topModel) View() string {
	if m.now.Time.IsZero() {
		if m.problem != nil {
			return "edge top: " + m.problem.Error() + "\n"
		}
		return "edge top: looking…\n"
	}
	lines := m.body()
	room := max(1, m.height-3)
	m.offset = min(m.offset, max(0, len(lines)-room))
	lines = lines[m.offset:min(len(lines), m.offset+room)]
	all := append(m.head(), lines...)
	for i := range all {
		all[i] = clip(all[i], m.width)
	}
	return strings.Join(all, "\n")
}

func (m *topModel) head() []string {
	s := m.now.Status
	state := "ready"
	if !s.Ready {
		state = "NOT READY"
	}
	keys := "q quit  space pause  ↑↓ scroll"
	switch {
	case m.problem != nil:
		keys = "LOST: " + m.problem.Error()
	case m.paused:
		keys = "PAUSED  " + keys
	}
	total, errors, inFlight := 0.0, 0.0, int64(0)
	for _, r := range m.now.Routes {
		d := m.since(r)
		total, errors, inFlight = total+d.rate, errors+d.errors, inFlight+r.InFlight
	}
	return []string{
		fmt.Sprintf("edge %s  pid %d  %s  up %s  %s", s.Version, s.PID, state, m.now.Time.Sub(s.Started).Round(time.Second), keys),
		fmt.Sprintf("%.1f req/s  %.1f errors/s  %d in flight  %d degraded", total, errors, inFlight, len(s.Degraded)),
		"",
	}
}

func (m *topModel) body() []string {
	var out []string
	table := func(head string, rows []string) {
		if len(rows) > 0 {
			out = append(append(append(out, head), rows...), "")
		}
	}
	var rows []string
	for _, r := range m.now.Routes {
		d := m.since(r)
		rows = append(rows, fmt.Sprintf("%-28s %9.1f %9.1f %8d %9s %9s", clip(r.Name, 28), d.rate, d.errors, r.InFlight, latency(d.p50), latency(d.p99)))
	}
	table("ROUTE                            REQ/S  ERRORS/S  RUNNING       P50       P99", rows)
	rows = nil
	for _, pool := range m.now.Workers {
		states, memory := map[string]int{}, int64(0)
		for _, w := range pool.Workers {
			states[w.State]++
			memory += w.Memory
		}
		rows = append(rows, fmt.Sprintf("%-28s %9d %9d %8d %9d %9s", clip(pool.Name, 28), len(pool.Workers), states["idle"], states["busy"], pool.Queued, bytesize.Size(memory)))
	}
	table("PHP POOL                       WORKERS      IDLE     BUSY   WAITING    MEMORY", rows)
	rows = nil
	for _, p := range m.now.Plugins {
		rows = append(rows, fmt.Sprintf("%-28s %9d %9d %8d %9s %9s", clip(p.Name, 28), p.Requests, p.Errors, p.Instances, latency(p.P50), latency(p.P99)))
	}
	table("PLUGIN                        REQUESTS    ERRORS INSTANCE       P50       P99", rows)
	rows = nil
	for _, s := range m.now.Stores {
		hits := "-"
		if n := s.Hits + s.Misses; n > 0 {
			hits = fmt.Sprintf("%.0f%%", 100*float64(s.Hits)/float64(n))
		}
		rows = append(rows, fmt.Sprintf("%-28s %9s %9d %8s %9s", clip(s.Name, 28), s.Driver, s.Keys, hits, bytesize.Size(s.Bytes)))
	}
	table("STORE                           DRIVER      KEYS     HITS     BYTES", rows)
	rows = nil
	for _, l := range m.now.Connections.Listeners {
		rows = append(rows, fmt.Sprintf("%-28s %9d %9d", clip(l.Network+" "+l.Address, 28), l.Open, l.Accepted))
	}
	for _, s := range m.now.Connections.WebSockets {
		rows = append(rows, fmt.Sprintf("%-28s %9d %9s", clip("ws "+s.Name, 28), s.Open, "-"))
	}
	table("CONNECTIONS                       OPEN  ACCEPTED", rows)
	rows = nil
	for _, s := range m.now.Services {
		running := 0
		for _, p := range s.Processes {
			if p.PID != 0 {
				running++
			}
		}
		rows = append(rows, fmt.Sprintf("%-28s %9s %9d", clip(s.Name, 28), fmt.Sprintf("%d/%d", running, len(s.Processes)), s.Restarts))
	}
	table("SERVICE                        RUNNING  RESTARTS", rows)
	for _, d := range m.now.Status.Degraded {
		out = append(out, "! "+d)
	}
	return out
}

// change is what happened on a route between two looks.
type change struct {
	rate, errors float64 // a second
	p50, p99     time.Duration
}

func (m *topModel) since(r admin.Route) (d change) {
	var old admin.Route
	for _, o := range m.before.Routes {
		if o.Name == r.Name {
			old = o
		}
	}
	passed := m.now.Time.Sub(m.before.Time).Seconds()
	if m.before.Time.IsZero() || passed <= 0 {
		return d
	}
	for i := range r.Classes {
		d.rate += float64(r.Classes[i]-old.Classes[i]) / passed
	}
	d.errors = float64(r.Classes[4]-old.Classes[4]) / passed
	counts := make([]uint64, len(r.Buckets))
	copy(counts, r.Buckets)
	for i := range min(len(counts), len(old.Buckets)) {
		counts[i] -= old.Buckets[i]
	}
	d.p50, d.p99 = quantile(counts, r.Bounds, 0.5), quantile(counts, r.Bounds, 0.99)
	return d
}

// quantile is where a share q of the requests lies, drawn straight through the bucket it is in; -1 is beyond the last bound.
func quantile(counts []uint64, bounds []float64, q float64) time.Duration {
	total := uint64(0)
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank, seen := q*float64(total), 0.0
	for i, n := range counts {
		if seen+float64(n) < rank || n == 0 {
			seen += float64(n)
			continue
		}
		if i >= len(bounds) {
			return -1
		}
		low := 0.0
		if i > 0 {
			low = bounds[i-1]
		}
		return time.Duration(math.Round((low + (bounds[i]-low)*(rank-seen)/float64(n)) * float64(time.Second)))
	}
	return -1
}

func latency(d time.Duration) string {
	switch {
	case d < 0:
		return "> 10s"
	case d == 0:
		return "-"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// clip cuts text to a width, for what is longer would break the table. Control characters do not reach the terminal.
func clip(text string, width int) string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, text)
	if runes := []rune(text); len(runes) > width {
		return string(runes[:max(0, width-1)]) + "…"
	}
	return text
}
