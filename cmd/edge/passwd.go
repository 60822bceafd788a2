package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edge-server/edge/core/guard"
)

func passwdCommand() *cobra.Command {
	cost := guard.HashCost
	cmd := &cobra.Command{
		Use:   "passwd [user]",
		Short: "Make the hash of a password for http.basic_auth",
		Long: `Reads a password from the terminal, or a line of standard input, and prints its hash (bcrypt) for http.basic_auth.NAME.users.
With a user it prints USER:HASH, a line for the file of http.basic_auth.NAME.file.`,
		Example: "  edge passwd\n  edge passwd alice >> users",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "" || strings.ContainsAny(args[0], ":\r\n")) {
				return fmt.Errorf("%q is no name of a user: it must not be empty, nor have colons", args[0])
			}
			password, err := readPassword(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			hash, err := guard.HashPassword(password, cost)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				hash = args[0] + ":" + hash
			}
			fmt.Fprintln(cmd.OutOrStdout(), hash)
			return nil
		},
	}
	cmd.Flags().IntVar(&cost, "cost", cost, "each more makes the hash twice as slow to check")
	return cmd
}

// readPassword asks twice on a terminal, where what is typed does not show.
func readPassword(in io.Reader, out io.Writer) (string, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		ask := func(prompt string) (string, error) {
			fmt.Fprint(out, prompt)
			defer fmt.Fprintln(out)
			typed, err := term.ReadPassword(int(file.Fd()))
			return string(typed), err
		}
		first, err := ask("Password: ")
		if err != nil {
			return "", err
		}
		second, err := ask("Again: ")
		if err == nil && first != second {
			err = errors.New("the two are not the same")
		}
		return first, err
	}
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}
