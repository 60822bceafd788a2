package osproc

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// DefaultUser is who runs what Edge starts when Edge runs as root and nothing else is said.
const DefaultUser = "www-data"

// Account is who a process runs as. Nil is who Edge itself runs as.
type Account struct {
	Name     string
	Home     string
	UID, GID uint32
	Groups   []uint32
}

// LookupAccount finds who processes run as. It returns nil when that is who Edge itself runs as.
func LookupAccount(name, group string) (*Account, error) {
	if os.Geteuid() != 0 {
		if err := checkSameUser(name); err != nil {
			return nil, err
		}
		return nil, checkSameGroup(group)
	}
	a, err := lookupUser(name)
	if err != nil || group == "" {
		return a, err
	}
	gid, err := lookupGroup(group)
	if err != nil {
		return nil, err
	}
	if a == nil {
		a = &Account{Name: "root", Home: "/root"}
	}
	a.GID, a.Groups = gid, append(a.Groups, gid)
	return a, nil
}

// lookupUser finds the user for an Edge that runs as root; nil is root.
func lookupUser(name string) (*Account, error) {
	said := name
	if name == "" {
		name = DefaultUser
	}
	if name == "root" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	var unknown user.UnknownUserError
	switch {
	case errors.As(err, &unknown) && said == "":
		return nil, fmt.Errorf("user: Edge runs as root and there is no user %s for what it starts: create it (useradd --system %s), name another, or say user: root", name, name)
	case errors.As(err, &unknown):
		return nil, fmt.Errorf("user: there is no user %q: create it (useradd --system %s) or name another", name, name)
	case err != nil:
		return nil, fmt.Errorf("user: look up %q: %w", name, err)
	}

	a := &Account{Name: u.Username, Home: u.HomeDir}
	if a.UID, err = parseID(u.Uid); err != nil {
		return nil, fmt.Errorf("user: %q: %w", name, err)
	}
	if a.GID, err = parseID(u.Gid); err != nil {
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
		a.Groups = append(a.Groups, id)
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
		return fmt.Errorf("user: only root can run processes as %q, and Edge runs as %q: start Edge as root, or leave user out", name, me.Username)
	}
	return nil
}

func lookupGroup(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) {
		return 0, fmt.Errorf("group: there is no group %q: create it (groupadd --system %s) or name another", name, name)
	}
	if err != nil {
		return 0, fmt.Errorf("group: look up %q: %w", name, err)
	}
	return parseID(g.Gid)
}

// checkSameGroup refuses a group that an Edge without root's rights is not in by default.
func checkSameGroup(name string) error {
	if name == "" {
		return nil
	}
	gid, err := lookupGroup(name)
	if err != nil {
		return err
	}
	if int(gid) != os.Getegid() {
		return fmt.Errorf("group: only root can run processes as group %q, and Edge runs as group %d: start Edge as root, or leave group out", name, os.Getegid())
	}
	return nil
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	return uint32(id), err
}

// String names the account in messages; nil is Edge's own user.
func (a *Account) String() string {
	if a == nil {
		return "Edge's user"
	}
	return fmt.Sprintf("user %q", a.Name)
}

// Environ is what the environment says about the account.
func (a *Account) Environ() []string {
	if a == nil {
		return nil
	}
	return []string{"USER=" + a.Name, "LOGNAME=" + a.Name, "HOME=" + a.Home}
}

// Stat is os.Stat of what is in a folder, with the rights of the account.
func (a *Account) Stat(dir string) (info os.FileInfo, err error) {
	err = a.As(func() error {
		// Looking up "." needs the right to enter the folder.
		info, err = os.Stat(dir + string(os.PathSeparator) + ".")
		return err
	})
	return info, err
}
