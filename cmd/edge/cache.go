package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/admin"
)

func cacheCommand(config *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Look at the response caches of the running server, and purge what they hold",
	}
	cmd.AddCommand(cachePurge(config), cacheStats(config))
	return cmd
}

func cachePurge(config *string) *cobra.Command {
	var p admin.CachePurge
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "purge [CACHE]",
		Short: "Remove answers from the response caches, for every server that shares their store",
		Long: "Remove answers from the response caches, for every server that shares their store. Without CACHE, a name of http.cache, it is about all of them.\n\n" +
			"  edge cache purge --tag news --tag article-7\n" +
			"  edge cache purge --url https://example.com/blog?page=2\n" +
			"  edge cache purge pages --prefix https://example.com/blog/\n" +
			"  edge cache purge --all",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Cache = argument(args, 0)
			if len(p.Tags)+len(p.URLs)+len(p.Prefixes) == 0 && !p.All {
				return errors.New("say what to purge: --tag TAG, --url URL, --prefix URL or --all")
			}
			c, err := client(*config)
			if err != nil {
				return err
			}
			done, err := c.CachePurge(cmd.Context(), p)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), done)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "purged", purgedText(p, done.Purged))
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&p.Tags, "tag", nil, "answers with this tag in Cache-Tag or Surrogate-Key; may be repeated")
	cmd.Flags().StringArrayVar(&p.URLs, "url", nil, "all answers of this URL, over TLS or not; may be repeated")
	cmd.Flags().StringArrayVar(&p.Prefixes, "prefix", nil, "answers of all URLs that begin so; looks through all keys; may be repeated")
	cmd.Flags().BoolVar(&p.All, "all", false, "everything")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"purged": N}`)
	return cmd
}

// purgedText says what a purge was about. How many answers had a tag nobody counts.
func purgedText(p admin.CachePurge, n int) string {
	if p.All {
		return "everything"
	}
	var list []string
	if len(p.Tags) > 0 {
		list = append(list, fmt.Sprintf("answers with %d tags", len(p.Tags)))
	}
	if len(p.URLs) > 0 {
		list = append(list, fmt.Sprintf("%d URLs", len(p.URLs)))
	}
	if len(list) == 0 {
		return fmt.Sprintf("%d entries", n)
	}
	if len(p.Prefixes) > 0 {
		list = append(list, "entries under prefixes")
	}
	return strings.Join(list, ", ")
}

func cacheStats(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what the response caches have done",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			list, err := c.Caches(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "CACHE\tSTORE\tHITS\tSTALE\tREVALIDATED\tCOLLAPSED\tMISSES\tBYPASSED\tRATIO\tSTORED\tSKIPPED\tPURGED\tERRORS\tSTATE")
			for _, s := range list {
				r, state := s.Requests, "up"
				if s.Down {
					state = "store away"
				}
				stale := r["stale"] + r["stale_error"]
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%s\n", s.Name, s.Store, r["hit"], stale, r["revalidated"], r["collapsed"],
					r["miss"], r["bypass"], ratio(r["hit"]+stale+r["collapsed"], r["miss"]+r["revalidated"]+r["bypass"]), s.Stored, s.Skipped, s.Purged, s.Errors, state)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}
