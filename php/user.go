package php

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// defaultUser runs the workers when Edge runs as root and nothing else is said.
const defaultUser = "www-data"

// account is who the workers run as.
type account struct {
	name     string
	home     string
	uid, gid uint32
	groups   []uint32
}

// lookupAccount finds the workers' user. It returns nil when they run as Edge itself does.
func lookupAccount(name string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, checkSameUser(name)
	}
	said := name
	if name == "" {
		name = defaultUser
	}
	if name == "root" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	switch {
	case errors.As(err, &unknown) && said == "":
		return nil, fmt.Errorf("user: Edge runs as root and there is no user %s for the workers: create it (useradd --system %s), name another, or say user: root", name, name)
	case errors.As(err, &unknown):
		return nil, fmt.Errorf("user: there is no user %q: create it (useradd --system %s) or name another", name, name)
	case err != nil:
		return nil, fmt.Errorf("user: look up %q: %w", name, err)
	}

	a := &account{name: u.Username, home: u.HomeDir}
	if a.uid, err = parseID(u.Uid); err != nil {
		return nil, fmt.Errorf("user: %q: %w", name, err)
	}
	if a.gid, err = parseID(u.Gid); err != nil {
		return nil, fmt.Errorf("user: %q: %w", name, err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("user: groups of %q: %w", name, err)
	}
	for _, g := range groups {
		id, err := parseID(g)
		if err != nil {
			return nil, fmt.Errorf("user: groups of %q: %w", name, err)
		}
		a.groups = append(a.groups, id)
	}
	return a, nil
}

// checkSameUser refuses a user that an Edge without root's rights cannot become.
func checkSameUser(name string) error {
	if name == "" {
		return nil
	}
	me, err := user.Current()
	if err != nil {
		return fmt.Errorf("user: who Edge runs as: %w", err)
	}
	if me.Username != name {
		return fmt.Errorf("user: only root can run workers as %q, and Edge runs as %q: start Edge as root, or leave user out", name, me.Username)
	}
	return nil
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}
