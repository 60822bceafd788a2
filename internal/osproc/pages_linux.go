package osproc

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReturnStartPages takes the pages of the program's own file out of this process' memory: code and tables that only the start has read
// would count as resident for ever. They stay in the kernel's cache of the file, from where those that are needed come back by
// themselves, at less than a microsecond each.
//
// Mappings in which a page was written (a debugger's breakpoint, the relocations of a position-independent binary) are left alone:
// what was written is nowhere else.
func ReturnStartPages() error {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	mappings, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer mappings.Close()
	var errs []error
	var from, to uint64 // of the mapping that is being read; to is 0 when it is none of the program's
	lines := bufio.NewScanner(mappings)
	for lines.Scan() {
		switch fields := strings.Fields(lines.Text()); {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"):
			from, to = 0, 0
			if strings.HasPrefix(fields[1], "r-") && strings.Join(fields[5:], " ") == program {
				from, to = mappingOf(fields[0])
			}
		case len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && to > 0:
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), unix.MADV_DONTNEED); errno != 0 {
				errs = append(errs, os.NewSyscallError("madvise", errno))
			}
		}
	}
	return errors.Join(append(errs, lines.Err())...)
}

// mappingOf reads the addresses of a line such as 00400000-011ee000.
func mappingOf(text string) (from, to uint64) {
	low, high, _ := strings.Cut(text, "-")
	from, errLow := strconv.ParseUint(low, 16, 64)
	to, errHigh := strconv.ParseUint(high, 16, 64)
	if errLow != nil || errHigh != nil {
		return 0, 0
	}
	return from, to
}
