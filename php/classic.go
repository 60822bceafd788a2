package php

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-server/edge/internal/osproc"
	"github.com/edge-server/edge/internal/urlpath"
)

// Classic mode runs scripts that start anew for every request, as under nginx and php-fpm. A worker then is
//
//	php-cgi       a process of its own, which Edge speaks FastCGI to (the default: what supervises workers supervises it)
//	php-fpm       a connection to a php-fpm that Edge starts, one for each generation
//	an address    a connection to a FastCGI server that somebody else runs
//
// and everything around workers, from the queue to the rolling reload, is that of worker mode. The files:
//
//	classic.go          which script a request is for, how PHP is started
//	classic_params.go   what the script finds in $_SERVER
//	classic_boot.go     how a worker comes up
//	classic_worker.go   the conversation with it
//	classic_fpm.go      the master process of php-fpm
//	fastcgi/            the bytes

// classic is what a generation of classic mode has beside its program.
type classic struct {
	root    string // without symlinks
	index   string
	network string // of the server that scripts are sent to, unless every worker has its own
	address string
	fpm     *fpmMaster // nil without php-fpm
}

var (
	// ErrNoScript means that the path names no script and there is no index.
	ErrNoScript = errors.New("there is no script for the path")
	// ErrUnreachable means that nothing answers where PHP should.
	ErrUnreachable = errors.New("php does not answer")
	// ErrOverloaded means that the FastCGI server has more to do than it takes.
	ErrOverloaded = errors.New("php has too much to do")
)

// checkFastCGI checks the address of a FastCGI server, or none.
func checkFastCGI(text string) error {
	if text == "" {
		return nil
	}
	network, address := splitFastCGI(text)
	_, port, err := net.SplitHostPort(address)
	if network == "unix" && filepath.IsAbs(address) || network == "tcp" && err == nil && port != "" {
		return nil
	}
	return fmt.Errorf("fastcgi: %q is no address: write unix:///run/php/php-fpm.sock or 127.0.0.1:9000", text)
}

// splitFastCGI reads unix:///path, unix:/path, /path, tcp://host:port and host:port.
func splitFastCGI(text string) (network, address string) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return "unix", strings.TrimPrefix(path, "//")
	}
	if strings.HasPrefix(text, "/") {
		return "unix", text
	}
	return "tcp", strings.TrimPrefix(text, "tcp://")
}

// newClassicSpec resolves folder and program.
func (p *Pool) newClassicSpec() (*spec, error) {
	s := &spec{user: p.user, env: p.environment(), classic: &classic{index: p.cfg.Index}}
	var err error
	if s.dir, err = realFolder(p.cfg.Dir); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	if s.classic.root, err = realFolder(p.cfg.Root); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	if p.cfg.FastCGI != "" {
		s.classic.network, s.classic.address = splitFastCGI(p.cfg.FastCGI)
		return s, nil
	}
	if s.path, s.args, err = p.classicProgram(s.dir); err != nil {
		return nil, err
	}
	if isFPM(s.path) {
		s.classic.fpm = newFPMMaster(p, s)
	} else {
		s.args = append(slices.Clip(s.args), p.cgiSettings()...)
		s.env = append(s.env, "PHP_FCGI_MAX_REQUESTS=0", "PHP_FCGI_CHILDREN=0") // max_jobs and workers say it
	}
	if p.user == nil {
		return s, s.checkRoot()
	}
	return s, p.user.As(s.checkRoot)
}

// cgiSettings go before what the user's command says.
func (p *Pool) cgiSettings() []string {
	if p.cfg.Debug {
		return []string{"-d", "display_errors=1", "-d", "html_errors=1", "-d", "error_reporting=-1"}
	}
	return nil
}

func realFolder(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: dir, Err: errors.New("is a file, not a folder")}
	}
	return dir, err
}

// retire ends what a generation has beside its workers, when these have ended; if not, their end does it.
func (s *spec) retire() {
	if s.classic != nil && s.classic.fpm != nil {
		s.classic.fpm.retire()
	}
}

// checkRoot finds out before the start that PHP cannot read its scripts.
func (s *spec) checkRoot() error {
	if err := reachable(s.classic.root, s.user); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	root, err := os.OpenRoot(s.classic.root)
	if err != nil {
		return fmt.Errorf("root: %w", err)
	}
	defer root.Close()
	file, err := root.Open(s.classic.index)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // a folder may have other scripts, or get it with the next deployment
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("index: %s cannot read %s: chmod or chown it, or set user", s.user, filepath.Join(s.classic.root, s.classic.index))
	case err != nil:
		return fmt.Errorf("index: %w", err)
	}
	return file.Close()
}

// fpmPlaces is where distributions put php-fpm, which often is in nobody's PATH.
var fpmPlaces = []string{"/usr/sbin/php-fpm*", "/usr/local/sbin/php-fpm*"}

// classicProgram is the configured command, or php-cgi, or php-fpm.
func (p *Pool) classicProgram(dir string) (program string, args []string, err error) {
	if len(p.cfg.Command) > 0 {
		program, err := osproc.FindProgram(p.cfg.Command[0], dir, phpHint)
		return program, p.cfg.Command, err
	}
	for _, name := range []string{"php-cgi", "php-fpm"} {
		if found, err := exec.LookPath(name); err == nil {
			found, err = filepath.Abs(found)
			return found, []string{name}, err
		}
	}
	for _, pattern := range fpmPlaces {
		found, _ := filepath.Glob(pattern)
		if len(found) > 0 {
			newest := found[len(found)-1]
			return newest, []string{filepath.Base(newest)}, nil
		}
	}
	return "", nil, errors.New("command: classic mode needs php-cgi or php-fpm, and neither is in PATH: install one (apt-get install php-cgi), " +
		"give its full path as command, or name a server that runs already as fastcgi")
}

// isFPM tells the two programs apart by their names, which distributions add a version to.
func isFPM(program string) bool { return strings.Contains(filepath.Base(program), "fpm") }

// fillClassic puts the parameters and the body of a request into the job. PHP parses forms itself.
func (p *Pool) fillClassic(r *http.Request, j *job) error {
	p.mu.Lock()
	c := p.spec.classic
	p.mu.Unlock()
	target, err := c.resolve(r.URL.Path)
	if err != nil {
		return err
	}
	j.script = p.nextScript()
	if j.buf, err = p.appendParams(j.buf[:jobHeader], r, c, target, j.script); err != nil {
		return fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	j.contextLen = len(j.buf) - jobHeader
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	return p.fillBody(r, j)
}

// nextScript numbers requests, from 1 on: two that follow each other on a connection never have the same number.
func (p *Pool) nextScript() uint16 { return uint16(p.scripts.Add(1)%math.MaxUint16) + 1 }

// script is what a path is for.
type script struct {
	name string // below the root, with slashes
	info string // PATH_INFO
}

// resolve finds the script: the first part of the path that is one, with what follows as its PATH_INFO; else the index of the
// folder that the path names; else the index of the root, which routes by REQUEST_URI. PHP is only ever given a file that is there
// and lies below the root, so that it has nothing to guess (cgi.fix_pathinfo), and a picture never is a script because of what is
// written behind it.
func (c *classic) resolve(urlPath string) (script, error) {
	clean, ok := urlpath.Clean(urlPath)
	if !ok || strings.IndexByte(clean, 0) >= 0 {
		return script{}, fmt.Errorf("%w: its path is none", ErrBadRequest)
	}
	root, err := os.OpenRoot(c.root)
	if err != nil {
		return script{}, fmt.Errorf("open php root: %w", err)
	}
	defer root.Close()

	rest := clean
	for from := 0; ; {
		i := strings.Index(rest[from:], ".php")
		if i < 0 {
			break
		}
		end := from + i + len(".php")
		name := strings.Trim(rest[:end], "/")
		if (end == len(rest) || rest[end] == '/') && mayRun(name) && isScript(root, name) {
			return script{name, rest[end:]}, nil
		}
		from = end
	}
	if folder := strings.Trim(clean, "/"); folder != "" && strings.HasSuffix(clean, "/") {
		if name := path.Join(folder, path.Base(c.index)); mayRun(name) && isScript(root, name) {
			return script{name: name}, nil
		}
	}
	if isScript(root, c.index) {
		return script{name: c.index}, nil
	}
	return script{}, ErrNoScript
}

// isScript reports whether the name is that of a file below the root. Symbolic links may lead to it, but not out of the root.
func isScript(root *os.Root, name string) bool {
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// mayRun refuses scripts in hidden folders, and in those that applications store uploads in: a script there was put there by a
// visitor.
func mayRun(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment[0] == '.' || strings.EqualFold(segment, "uploads") {
			return false
		}
	}
	return true
}

// bodySize is how many bytes of body the job has.
func (j *job) bodySize() int64 {
	if j.file != nil {
		return j.fileSize
	}
	return int64(len(j.buf) - jobHeader - j.contextLen)
}
