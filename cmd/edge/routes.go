package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
)

func routesCommand(config *string) *cobra.Command {
	var explain, client string
	var headers []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Show the routes of edge.yaml, or which one serves a request and why",
		Example: `  edge routes
  edge routes --explain 'GET https://example.com/api/users?page=2' --header 'X-Version: 2'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := core.Load(*config, os.Environ())
			if err != nil {
				return err
			}
			lines := cfg.RouteTable()
			if explain != "" {
				if lines, err = explainRoute(cfg, explain, headers, client); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(lines)
			}
			return printRoutes(cmd.OutOrStdout(), lines, explain != "")
		},
	}
	cmd.Flags().StringVar(&explain, "explain", "", "a `request` such as 'GET https://example.com/path'")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "a `header` of the request, 'Name: value'")
	cmd.Flags().StringVar(&client, "client", "127.0.0.1", "the `address` of the client")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func explainRoute(cfg *core.Config, text string, headers []string, client string) ([]core.RouteLine, error) {
	method, target, found := strings.Cut(strings.TrimSpace(text), " ")
	if !found {
		method, target = http.MethodGet, method
	}
	header := http.Header{}
	for _, line := range headers {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("--header %q: write it as 'Name: value'", line)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	addr, err := netip.ParseAddr(client)
	if err != nil {
		return nil, fmt.Errorf("--client %q is not an IP address", client)
	}
	return cfg.ExplainRoute(strings.ToUpper(method), strings.TrimSpace(target), header, netip.AddrPortFrom(addr, 0).String())
}

// printRoutes prints the table; explained is whether it says what becomes of a request.
func printRoutes(out io.Writer, lines []core.RouteLine, explained bool) error {
	if len(lines) == 0 {
		return errors.New("there are no routes: add some under http.routes")
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if explained {
		fmt.Fprint(t, "\t")
	}
	fmt.Fprintln(t, "ROUTE\tNAME\tMATCH\tUSE\tTARGET")
	chosen := false
	for i := range lines {
		line := &lines[i]
		if explained {
			fmt.Fprint(t, verdict(line, chosen), "\t")
		}
		chosen = chosen || line.Chosen
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", line.Place, orDash(line.Name), orDash(strings.Join(line.Match, "; ")), orDash(strings.Join(line.Use, ", ")), line.Target)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if explained && !chosen {
		fmt.Fprintln(out, "no route matches: the answer is 404")
	}
	return nil
}

func verdict(line *core.RouteLine, chosen bool) string {
	switch {
	case line.Chosen:
		return "serves it"
	case line.Why != "":
		return "no: " + line.Why
	case chosen:
		return "would, but comes later"
	}
	return ""
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
