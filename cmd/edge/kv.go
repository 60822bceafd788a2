package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/bytesize"
)

// exitError is an error with an exit code of its own.
type exitError struct {
	error
	code int
}

// notThere is the exit code for a key that is not there, or that is there when it must not be: scripts can tell it from trouble.
const notThere = 2

func missingKey(store, key string) error {
	return exitError{fmt.Errorf("store %s has no key %q", store, key), notThere}
}

func kvCommand(config *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "kv",
		Short: "Look into the stores of the running server, and change them",
		Long: "Look into the stores of the running server, and change them.\n\n" +
			"STORE is a name of the kv section of edge.yaml. Exit codes: 0 done; 2 the key is not there (set --add: it is); 1 anything else.",
	}
	cmd.AddCommand(kvGet(config), kvSet(config), kvList(config), kvTTL(config), kvDelete(config), kvStats(config),
		kvExport(config), kvImport(config), kvCompact(config))
	return cmd
}

// store finds a store of the running server.
func store(config, name string) (admin.KVClient, error) {
	c, err := client(config)
	if err != nil {
		return admin.KVClient{}, err
	}
	return c.KV(name), nil
}

// printJSON writes v as one line.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// until says a deadline to people.
func until(end time.Time) string {
	if end.IsZero() {
		return "for ever"
	}
	return fmt.Sprintf("until %s (%s)", end.Local().Format(time.DateTime), time.Until(end).Round(time.Millisecond))
}

// deadline is a key's end in JSON, nil for never.
func deadline(end time.Time) *time.Time {
	if end.IsZero() {
		return nil
	}
	return new(end.UTC())
}

func kvList(config *string) *cobra.Command {
	var asJSON bool
	var limit int
	cmd := &cobra.Command{
		Use:   "ls STORE [PREFIX]",
		Short: "List keys",
		Long:  "List keys, one a line; a key that is not plain text is quoted as in Go. Without --limit all of them.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			prefix := ""
			if len(args) > 1 {
				prefix = args[1]
			}
			return eachKey(cmd.Context(), s, prefix, limit, func(k admin.KVKey) error {
				if asJSON {
					return printJSON(cmd.OutOrStdout(), k)
				}
				_, err := fmt.Fprintln(cmd.OutOrStdout(), printable(k.String()))
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `one JSON object a line: {"key": …}, or {"key_base64": …} for a key that is not UTF-8`)
	cmd.Flags().IntVar(&limit, "limit", 0, "stop after so many keys")
	return cmd
}

// printable quotes a key that would harm a terminal or the list.
func printable(key string) string {
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xFFFD || r >= 0x80 && r < 0xA0 }) || key == "" {
		return fmt.Sprintf("%q", key)
	}
	return key
}

// eachKey calls do for up to limit keys, 0 for all.
func eachKey(ctx context.Context, s admin.KVClient, prefix string, limit int, do func(admin.KVKey) error) error {
	const page = 1000
	for cursor, seen := "", 0; ; {
		most := page
		if limit > 0 {
			most = min(page, limit-seen)
		}
		p, err := s.Keys(ctx, prefix, cursor, most)
		if err != nil {
			return err
		}
		for _, k := range p.Keys {
			if err := do(k); err != nil {
				return err
			}
			if seen++; seen == limit {
				return nil
			}
		}
		if cursor = string(p.Cursor); cursor == "" {
			return nil
		}
	}
}

func kvTTL(config *string) *cobra.Command {
	var asJSON, persist bool
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "ttl STORE KEY",
		Short: "Show, or change, how long a key lives",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			if persist || ttl != 0 {
				if persist && ttl != 0 || ttl < 0 {
					return errors.New("write --set DURATION, more than 0, or --persist")
				}
				var end time.Time
				if ttl > 0 {
					end = time.Now().Add(ttl)
				}
				if found, err := s.Expire(cmd.Context(), args[1], end); err != nil || !found {
					return orMissing(err, args)
				}
			}
			item, err := s.TTL(cmd.Context(), args[1])
			if err != nil || !item.Found {
				return orMissing(err, args)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), struct {
					admin.KVKey
					Expires *time.Time `json:"expires"`
				}{admin.NewKVKey(args[1]), deadline(item.Expires)})
			}
			fmt.Fprintln(cmd.OutOrStdout(), until(item.Expires))
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"key": …, "expires": …}; expires is null for ever`)
	cmd.Flags().DurationVar(&ttl, "set", 0, "let the key live so long from now, such as 90s or 24h")
	cmd.Flags().BoolVar(&persist, "persist", false, "let the key live for ever")
	return cmd
}

func orMissing(err error, args []string) error {
	if err != nil {
		return err
	}
	return missingKey(args[0], args[1])
}

func kvDelete(config *string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "del STORE KEY...",
		Short: "Remove keys, or all of them with --all",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			keys := args[1:]
			if all == (len(keys) > 0) {
				return errors.New("name the keys to remove, or write --all and no key")
			}
			if all {
				if err := s.Clear(cmd.Context()); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "store", args[0], "is empty")
				return nil
			}
			n, err := s.Delete(cmd.Context(), keys)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %d of %d keys\n", n, len(keys))
			if n == 0 {
				return exitError{fmt.Errorf("store %s has none of these keys", args[0]), notThere}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every key of the store")
	return cmd
}

func kvStats(config *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "stats [STORE]",
		Short: "Show what the stores hold and do",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(*config)
			if err != nil {
				return err
			}
			stores, err := c.KVStores(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if stores, err = only(stores, args[0]); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), stores)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "STORE\tDRIVER\tKEYS\tSIZE\tLIMIT\tHITS\tMISSES\tRATIO\tSETS\tEXPIRED\tEVICTED\tREFUSED")
			for _, s := range stores {
				keys, size := "-", "-"
				if s.Counts {
					keys, size = strconv.FormatInt(s.Keys, 10), bytesize.Size(s.Bytes).String()
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\n", s.Name, s.Driver, keys, size, limit(s.MaxBytes),
					s.Hits, s.Misses, ratio(s.Hits, s.Misses), s.Sets, s.Expired, s.Evicted, s.Refused)
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return cmd
}

func only(stores []admin.KVStore, name string) ([]admin.KVStore, error) {
	var names []string
	for _, s := range stores {
		if s.Name == name {
			return []admin.KVStore{s}, nil
		}
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no store is called %q; the kv section of edge.yaml has none", name)
	}
	return nil, fmt.Errorf("no store is called %q; there are: %s", name, strings.Join(names, ", "))
}

func limit(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return bytesize.Size(bytes).String()
}

func ratio(hits, misses uint64) string {
	if hits+misses == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*float64(hits)/float64(hits+misses))
}
