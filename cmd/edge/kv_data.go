package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/admin"
	"github.com/edge-server/edge/internal/bytesize"
)

func kvGet(config *string) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get STORE KEY",
		Short: "Write the value of a key to stdout, byte for byte",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			item, err := s.Get(cmd.Context(), args[1])
			if err != nil || !item.Found {
				return orMissing(err, args)
			}
			return writeTo(file, cmd.OutOrStdout(), func(out io.Writer) error {
				if asJSON {
					return printJSON(out, struct {
						admin.KVKey
						Value   []byte     `json:"value"`
						Expires *time.Time `json:"expires"`
					}{admin.NewKVKey(args[1]), item.Value, deadline(item.Expires)})
				}
				_, err := out.Write(item.Value)
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this `file` instead of stdout")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"key": …, "value": base64, "expires": …}; expires is null for ever`)
	return cmd
}

func kvSet(config *string) *cobra.Command {
	var file string
	var ttl time.Duration
	var add bool
	cmd := &cobra.Command{
		Use:   "set STORE KEY [VALUE]",
		Short: "Store a value: the argument, a file, or what stdin brings",
		Args:  cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			item := admin.KVItem{Key: args[1]}
			if item.Value, err = valueOf(cmd, args, file); err != nil {
				return err
			}
			if ttl < 0 || ttl == 0 && cmd.Flags().Changed("ttl") {
				return errors.New("--ttl: must be more than 0; leave it away for ever")
			}
			if ttl > 0 {
				item.Expires = time.Now().Add(ttl)
			}
			if !add {
				return s.Set(cmd.Context(), item)
			}
			stored, err := s.Add(cmd.Context(), item)
			if err == nil && !stored {
				err = exitError{fmt.Errorf("store %s has key %q already", args[0], args[1]), notThere}
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "the `file` whose bytes are the value; - is stdin")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long the key lives, such as 90s or 24h; for ever without it")
	cmd.Flags().BoolVar(&add, "add", false, "only if the key is not there; exit code 2 if it is")
	return cmd
}

// valueOf is the third argument, or a file, or stdin.
func valueOf(cmd *cobra.Command, args []string, file string) ([]byte, error) {
	switch {
	case len(args) == 3 && file != "":
		return nil, errors.New("write the value or --file, not both")
	case len(args) == 3:
		return []byte(args[2]), nil
	case file != "" && file != "-":
		return os.ReadFile(file)
	}
	return io.ReadAll(cmd.InOrStdin())
}

// writeTo writes to a file, which appears when it is whole, or to stdout when none is named.
func writeTo(file string, stdout io.Writer, write func(io.Writer) error) error {
	if file == "" || file == "-" {
		return write(stdout)
	}
	partial, err := os.OpenFile(file+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(write(partial), partial.Close())
	if err != nil {
		return errors.Join(err, os.Remove(partial.Name()))
	}
	return os.Rename(partial.Name(), file)
}

func kvExport(config *string) *cobra.Command {
	var file, prefix string
	cmd := &cobra.Command{
		Use:   "export STORE",
		Short: "Write every key with its value and deadline as lines of JSON",
		Long: "Write every key with its value and deadline as lines of JSON, for `edge kv import`, into any driver.\n\n" +
			`The first line is {"edge_kv_export":1,"store":…}, then {"key":…,"value":BASE64,"expires":RFC 3339} for each key` + "\n" +
			`(key_base64 when a key is not UTF-8; no expires: for ever), then {"end":HOW MANY}.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			var keys, damaged int64
			err = writeTo(file, cmd.OutOrStdout(), func(out io.Writer) (err error) {
				keys, damaged, err = s.Export(cmd.Context(), prefix, out)
				return err
			})
			if err != nil {
				return err
			}
			if file != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "exported %d keys to %s\n", keys-damaged, file)
			}
			if damaged > 0 {
				return fmt.Errorf("%d keys could not be read; the lines with \"error\" say why", damaged)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this `file` instead of stdout")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys with this `prefix`")
	return cmd
}

func kvImport(config *string) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "import STORE",
		Short: "Store what `edge kv export` wrote; keys that are there are replaced, others stay",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := store(*config, args[0])
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if file != "" && file != "-" {
				f, err := os.Open(file)
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			done, err := s.Import(cmd.Context(), in)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "stored %d keys", done.Stored)
			if done.Expired+done.Damaged > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "; left out %d whose deadline has come and %d that the export could not read", done.Expired, done.Damaged)
			}
			if done.Untagged > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "; %d without the tags they had, since the driver has none", done.Untagged)
			}
			if done.Unsorted > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "; left out %d sorted sets, since the driver has none", done.Unsorted)
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "read from this `file` instead of stdin")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"stored": …, "expired": …, "damaged": …}`)
	return cmd
}

func kvCompact(config *string) *cobra.Command {
	var offline, asJSON bool
	cmd := &cobra.Command{
		Use:   "compact STORE",
		Short: "Make the file of a boltdb store as small as its data",
		Long: "Make the file of a boltdb store as small as its data. Through the running server reads go on, and writes wait.\n" +
			"With --offline the file is compacted by this command, while no server has it open. It takes the room of the data once more.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var done admin.KVCompaction
			if offline {
				done, err = core.CompactStore(*config, os.Environ(), args[0])
			} else {
				var s admin.KVClient
				if s, err = store(*config, args[0]); err == nil {
					done, err = s.Compact(cmd.Context())
				}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), done)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, was %s\n", done.File, bytesize.Size(done.After), bytesize.Size(done.Before))
			return nil
		},
	}
	cmd.Flags().BoolVar(&offline, "offline", false, "without a server: open the file here")
	cmd.Flags().BoolVar(&asJSON, "json", false, `print {"file": …, "before": bytes, "after": bytes}`)
	return cmd
}
