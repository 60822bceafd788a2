package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/admin"
)

func wsCommand(config *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ws",
		Short: "See who is connected to the running server by WebSocket, send to them, disconnect them",
		Long: "See who is connected to the running server by WebSocket, send to them, disconnect them.\n\n" +
			"APP is an application of the ws section of edge.yaml: chat, or with what it speaks, raw/chat or pusher/chat. " +
			"Exit codes: 0 done; 2 nobody was there (with several servers, only --conn can tell); 1 anything else.",
	}
	cmd.AddCommand(wsList(config), wsChannels(config), wsSend(config), wsKick(config))
	return cmd
}

// argument is args[i], or nothing.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func wsList(config *string) *cobra.Command {
	var asJSON, apps bool
	var user, channel string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls [APP]",
		Short: "List the connections of this node, the oldest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 {
				return fmt.Errorf("--limit: must be at least 1, got %d", limit)
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			if apps {
				return listApps(cmd, c, asJSON)
			}
			list, err := c.WSConnections(cmd.Context(), argument(args, 0), user, channel, limit)
			if err != nil {
				return err
			}
			if asJSON {
				return eachJSON(cmd.OutOrStdout(), list.Connections)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tAPP\tREMOTE\tUSER\tAGE\tCHANNELS\tQUEUED\tDROPPED")
			for _, conn := range list.Connections {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\n", conn.ID, conn.App, conn.Remote, orDash(printableOrEmpty(conn.User)),
					time.Since(conn.Opened).Round(time.Second), channelList(conn.Channels), conn.Queued, conn.Dropped)
			}
			if err := t.Flush(); err != nil {
				return err
			}
			if n := len(list.Connections); n < list.Total {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d of %d; --limit shows more\n", n, list.Total)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, with attributes and subprotocol")
	cmd.Flags().BoolVar(&apps, "apps", false, "list the applications instead, with what they have done")
	cmd.Flags().StringVar(&user, "user", "", "only those of this user")
	cmd.Flags().StringVar(&channel, "channel", "", "only those subscribed to this channel")
	cmd.Flags().IntVar(&limit, "limit", 1000, "so many at most")
	return cmd
}

func listApps(cmd *cobra.Command, c *admin.Client, asJSON bool) error {
	list, err := c.WSApps(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		return eachJSON(cmd.OutOrStdout(), list)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "APP\tCONNECTIONS\tCHANNELS\tRECEIVED\tPUBLISHED\tDELIVERED\tDROPPED\tQUEUED")
	for _, a := range list {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", a.Name, a.Connections, a.Channels, a.Received, a.Published, a.Delivered, a.Dropped, a.Queued)
	}
	return t.Flush()
}

func eachJSON[T any](out io.Writer, list []T) error {
	for _, v := range list {
		if err := printJSON(out, v); err != nil {
			return err
		}
	}
	return nil
}

// printableOrEmpty is printable, which makes "" of nothing.
func printableOrEmpty(text string) string {
	if text == "" {
		return ""
	}
	return printable(text)
}

// channelList shows the first few.
func channelList(names []string) string {
	const few = 3
	shown := make([]string, 0, few)
	for _, name := range names[:min(few, len(names))] {
		shown = append(shown, printable(name))
	}
	text := orDash(strings.Join(shown, ","))
	if more := len(names) - few; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func wsChannels(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "channels [APP [PREFIX]]",
		Short: "List the channels that have subscribers, on all nodes",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			list, err := c.WSChannels(cmd.Context(), argument(args, 0), argument(args, 1))
			if err != nil {
				return err
			}
			if asJSON {
				return eachJSON(cmd.OutOrStdout(), list)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "APP\tCHANNEL\tSUBSCRIBERS\tMEMBERS")
			for _, ch := range list {
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\n", ch.App, printable(ch.Name), ch.Subscribers, ch.Members)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return cmd
}

// wsTargetFlags are the flags that say to whom.
func wsTargetFlags(cmd *cobra.Command, to *admin.WSTarget, what string) {
	cmd.Flags().StringVar(&to.Conn, "conn", "", what+" this connection: an ID of edge ws ls")
	cmd.Flags().StringVar(&to.User, "user", "", what+" all connections of this user")
	cmd.Flags().BoolVar(&to.All, "all", false, what+" all connections of the application")
}

func onlyOneTarget(to admin.WSTarget, flags string) error {
	said := 0
	for _, is := range []bool{to.Conn != "", to.User != "", to.Channel != "", to.All} {
		if is {
			said++
		}
	}
	if said != 1 {
		return fmt.Errorf("say to whom, by exactly one of %s", flags)
	}
	return nil
}

func wsSend(config *string) *cobra.Command {
	var to admin.WSTarget
	var binary, asJSON bool
	cmd := &cobra.Command{
		Use:   "send APP [MESSAGE] (--conn ID | --user NAME | --channel NAME | --all)",
		Short: "Send a message; without MESSAGE, what comes on standard input",
		Long: "Send a message to a connection, a user's connections, a channel, or everybody; without MESSAGE, what comes on standard input.\n\n" +
			`The message goes out as it is: clients of a Pusher application take {"event": …, "channel": …, "data": "…"}.`,
		Example: `  edge ws send chat 'We restart at noon' --all` + "\n" + `  edge ws send chat --channel hall < picture.png --binary`,
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := onlyOneTarget(to, "--conn, --user, --channel and --all"); err != nil {
				return err
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			var message io.Reader = strings.NewReader(argument(args, 1))
			if len(args) < 2 {
				message = os.Stdin
			}
			done, err := c.WSSend(cmd.Context(), args[0], to, binary, message)
			return wsResult(cmd, "sent to", done, err, asJSON)
		},
	}
	wsTargetFlags(cmd, &to, "send to")
	cmd.Flags().StringVar(&to.Channel, "channel", "", "send to the subscribers of this channel")
	cmd.Flags().BoolVar(&binary, "binary", false, "as bytes, not as text")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"connections": N}`)
	return cmd
}

func wsKick(config *string) *cobra.Command {
	var to admin.WSTarget
	var code int
	var reason string
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "kick APP (--conn ID | --user NAME | --all)",
		Short:   "Close connections",
		Example: `  edge ws kick chat --user anna --code 4003 --reason 'signed out elsewhere'`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := onlyOneTarget(to, "--conn, --user and --all"); err != nil {
				return err
			}
			if err := core.CheckCloseCode(code); err != nil {
				return fmt.Errorf("--%w", err)
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			done, err := c.WSKick(cmd.Context(), args[0], to, code, reason)
			return wsResult(cmd, "closed", done, err, asJSON)
		},
	}
	wsTargetFlags(cmd, &to, "close")
	cmd.Flags().IntVar(&code, "code", 1000, "the code of the close frame: 1000, 1001, 1003, 1007 to 1013 or 3000 to 4999")
	cmd.Flags().StringVar(&reason, "reason", "", "the reason beside it, up to 123 bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"connections": N}`)
	return cmd
}

// wsResult says how many it concerned. Nobody is an exit code of its own.
func wsResult(cmd *cobra.Command, what string, done admin.WSDone, err error, asJSON bool) error {
	if admin.NoConnection(err) {
		return exitError{err, notThere}
	}
	if err != nil {
		return err
	}
	others := ""
	if done.Fleet {
		others = ", and those of other nodes"
	}
	if asJSON {
		err = printJSON(cmd.OutOrStdout(), done)
	} else {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s of this node%s\n", what, plural(done.Connections, "connection"), others)
	}
	if err == nil && done.Connections == 0 && !done.Fleet {
		return exitError{errors.New("nobody of this node was there"), notThere}
	}
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
