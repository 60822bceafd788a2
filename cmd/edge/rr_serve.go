package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/edge-server/edge/core"
	"github.com/edge-server/edge/core/gcpace"
	"github.com/edge-server/edge/core/rrcompat"
	"github.com/edge-server/edge/core/telemetry"
	"github.com/edge-server/edge/internal/bytesize"
)

func rrServe(f *rrFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the server until SIGTERM",
		Long: `Run the server until SIGTERM.

The first SIGTERM, SIGINT, SIGQUIT or SIGABRT drains: requests in flight finish, workers stop, the exit code is 0. A second one
exits at once with 1. SIGUSR2 stops and starts anew, with the configuration as it is then. SIGHUP reads the configuration again and
applies it without losing a request; what needs a new start, such as an address, is refused with a word in the log.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			again, err := serveRR(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil || !again {
				return err
			}
			return restart()
		},
	}
}

// restart puts the program, as it is on disk now, in the place of this process.
func restart() error {
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, os.Args, os.Environ())
	}
	return fmt.Errorf("start anew: %w", err)
}

// serveRR runs the server. It reports whether it was asked to start anew.
func serveRR(ctx context.Context, f *rrFlags, stdout, stderr io.Writer) (again bool, err error) {
	r, err := prepareRR(f, stdout, stderr)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.close()) }()

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	hard, cut := context.WithCancelCause(context.Background()) // of the stop: what is cut still writes what stores hold
	restarts, hangups, release := r.handleSignals(&wg, cancel, cut)
	defer release()

	if err := r.runOnInit(ctx); err != nil {
		return false, err
	}
	if f.debug {
		stop, err := serveProfiles(r.log)
		if err != nil {
			return false, err
		}
		defer stop()
	}
	server, err := core.New(ctx, r.cfg, core.Options{Environ: os.Environ(), LogOutput: stderr, RoadRunner: &core.RoadRunner{
		Logger: r.log, AccessLogs: r.result.AccessLogs, Config: func() map[string]any { return r.inForce.Load().Resolved() },
		Reread: r.rereadPools, Explain: r.explain,
	}})
	if err == nil {
		slog.SetDefault(server.Logger()) // for libraries that write to the log package
		err = server.Start(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return false, nil // stopped by a signal before it served
		}
		return false, r.explain(err)
	}
	r.sayf("[INFO] RoadRunner server started; version: %s, buildtime: %s\n", core.RoadRunnerVersion, buildTime())
	notifySystemd("READY=1")
	defer gcpace.Start()()
	wg.Go(func() { watchdog(ctx, r.result.Watchdog) }) // ends with ctx
	wg.Go(func() { r.reloadOn(ctx, hangups, server) }) // ends with ctx
	wait, stopWaiting := context.WithCancel(ctx)
	defer stopWaiting()
	var anew atomic.Bool
	wg.Go(func() { // ends with wait
		select {
		case <-wait.Done():
		case <-restarts:
			r.sayf("restart signal [SIGUSR2] received\n")
			anew.Store(true)
			stopWaiting()
		}
	})
	err = server.Wait(wait)
	stopWaiting()
	notifySystemd("STOPPING=1")
	if err == nil && !anew.Load() {
		r.sayf("stop signal received, grace timeout is: %.0f seconds\n", r.cfg.ShutdownTimeout.Seconds())
	}
	return anew.Load(), errors.Join(err, server.Stop(hard), context.Cause(hard))
}

// rrServer is a server that is about to run under RoadRunner's name.
type rrServer struct {
	flags  *rrFlags
	dir    string
	config *rrcompat.Config
	result *rrcompat.Result
	cfg    *core.Config
	log    *slog.Logger
	stdout io.Writer
	stderr io.Writer

	latest  atomic.Pointer[rrcompat.Config] // that was read
	inForce atomic.Pointer[rrcompat.Config] // since the start or the last SIGHUP
	reread  sync.Mutex                      // one reading after the other; protects told
	told    []rrcompat.Finding              // warnings

	mu   sync.Mutex     // protects undo
	undo []func() error // last first
}

// prepareRR reads the configuration and opens the log. Nothing is left behind on an error.
func prepareRR(f *rrFlags, stdout, stderr io.Writer) (*rrServer, error) {
	r := &rrServer{flags: f, stdout: stdout, stderr: stderr}
	if err := r.prepare(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *rrServer) prepare() (err error) {
	if r.dir, err = r.flags.dir(); err != nil {
		return err
	}
	if r.config, err = r.flags.load(); err != nil {
		return err
	}
	warning, err := r.config.CheckVersion()
	if err != nil {
		return err
	}
	if r.result, err = r.config.Translate(rrcompat.Options{CPUs: runtime.GOMAXPROCS(0)}); err != nil {
		return err
	}
	if r.cfg, err = r.decode(r.config, r.result); err != nil {
		return err
	}
	r.inForce.Store(r.config)
	if err := r.openLog(); err != nil {
		return err
	}
	r.report(warning)
	if err := r.ownState(); err != nil {
		return err
	}
	if r.flags.pid {
		return r.writePID()
	}
	return nil
}

// close gives back what prepare took. A forced exit may call it beside the usual end.
func (r *rrServer) close() error {
	r.mu.Lock()
	undo := r.undo
	r.undo = nil
	r.mu.Unlock()
	var errs []error
	for _, f := range slices.Backward(undo) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// atEnd makes close call f.
func (r *rrServer) atEnd(f func() error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.undo = append(r.undo, f)
}

func (r *rrServer) openLog() error {
	log, closeFiles, err := telemetry.NewRoadRunnerLogger(logConfig(r.result.Logs), telemetry.Streams{Stdout: r.stdout, Stderr: r.stderr, Dir: r.dir})
	if err != nil {
		return fmt.Errorf("logs: %w", err)
	}
	r.log = log
	r.atEnd(closeFiles)
	return nil
}

func logConfig(l rrcompat.Logs) telemetry.RoadRunnerLog {
	c := telemetry.RoadRunnerLog{
		Mode: l.Mode, Level: l.Level, Encoding: l.Encoding, LineEnding: l.LineEnding, Output: l.Output, File: l.File,
		Rotate: telemetry.Rotate{
			MaxSize: bytesize.Size(l.Rotate.MaxSize) * bytesize.MiB, MaxAge: time.Duration(l.Rotate.MaxAge) * 24 * time.Hour,
			Backups: l.Rotate.Backups, Compress: l.Rotate.Compress,
		},
		Channels: map[string]telemetry.RoadRunnerLog{},
	}
	for name, channel := range l.Channels {
		c.Channels[name] = logConfig(channel)
	}
	return c
}

// report says what of the configuration is lost, and to those who debug what is different.
func (r *rrServer) report(warning string) {
	log := r.log.With(telemetry.LoggerKey, "config")
	if warning != "" {
		log.Warn(warning)
	}
	r.told = slices.Clone(r.result.Findings)
	for _, f := range r.result.Findings {
		if f.Warning {
			log.Warn(f.String())
		} else {
			log.Debug(f.String())
		}
	}
	if pool, ok := r.cfg.PHP[rrcompat.PoolName]; ok && os.Geteuid() == 0 && pool.User == "" {
		log.Warn("server.user is not set: workers run as www-data, for Edge runs as root and RoadRunner would run them as root; say `server: {user: root}` or EDGE_PHP__HTTP__USER=root if the application needs it")
	}
}

// ownState gives the server a folder of its own: RoadRunner leaves nothing behind and starts any number of times in one folder.
func (r *rrServer) ownState() error {
	state, remove, err := tempState("edge-rr-")
	if err != nil {
		return err
	}
	r.atEnd(remove)
	r.cfg.StateDir = state
	r.cfg.Admin.Listen = "off"
	return nil
}

func (r *rrServer) writePID() error {
	path := filepath.Join(r.dir, pidFile)
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return fmt.Errorf("write the .pid file: %w", err)
	}
	r.atEnd(func() error { return os.Remove(path) })
	return nil
}

// sayf writes to standard output, unless -s forbids it.
func (r *rrServer) sayf(format string, args ...any) {
	if !r.flags.silent {
		fmt.Fprintf(r.stdout, format, args...)
	}
}

// handleSignals calls stop on the first signal that ends the server, cut on the second, and exits on the third. Until release is
// called, signals do nothing else.
func (r *rrServer) handleSignals(wg *sync.WaitGroup, stop func(), cut func(error)) (restarts, hangups <-chan os.Signal, release func()) {
	usr2, hup := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(usr2, syscall.SIGUSR2)
	signal.Notify(hup, syscall.SIGHUP)
	end := make(chan os.Signal, 2)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGABRT)
	wg.Go(func() { // ends when end is closed
		if _, ok := <-end; !ok {
			return
		}
		stop()
		if _, ok := <-end; ok {
			r.sayf("exit forced\n")
			cut(errForced)
			awaitForced(end, func() { _ = r.close(); os.Exit(1) })
		}
	})
	return usr2, hup, func() {
		signal.Stop(usr2)
		signal.Stop(hup)
		signal.Stop(end)
		close(end)
	}
}

// runOnInit runs server.on_init.
func (r *rrServer) runOnInit(ctx context.Context) error {
	on := r.result.OnInit
	if on == nil {
		return nil
	}
	log := r.log.With(telemetry.LoggerKey, "server")
	ctx, cancel := context.WithTimeout(ctx, on.Timeout)
	defer cancel()
	argv := on.Command
	if len(argv) == 1 {
		argv = strings.Fields(argv[0])
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), on.Env...)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := runAs(cmd, on.User); err != nil {
		return fmt.Errorf("server.on_init: %w", err)
	}
	var output bytes.Buffer // of a command that somebody wrote for this server; what it says is a page at most
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	if text := strings.TrimSpace(output.String()); text != "" {
		log.Info(text)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %s", on.Timeout)
	}
	err = fmt.Errorf("server.on_init: %s: %w", strings.Join(argv, " "), err)
	if on.ExitOnError {
		return err
	}
	log.Error(err.Error())
	return nil
}

// runAs makes cmd run as another user.
func runAs(cmd *exec.Cmd, name string) error {
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	if int(uid) != os.Geteuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return nil
}

// serveProfiles is what -d asks for. RoadRunner opens it to the network; profiles have the data of requests in them.
func serveProfiles(log *slog.Logger) (stop func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	listener, err := net.Listen("tcp", "127.0.0.1:6061")
	if err != nil {
		return nil, fmt.Errorf("-d: %w", err)
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() { // ends with stop
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener of profiles ended", "error", err)
		}
	})
	return func() {
		_ = server.Close()
		wg.Wait()
	}, nil
}

// notifySystemd tells systemd how the server is, when systemd asked to be told.
func notifySystemd(state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return // systemd notices what it does not hear
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}

// watchdog tells systemd that the process lives, twice in every period.
func watchdog(ctx context.Context, period time.Duration) {
	if period <= 0 {
		return
	}
	tick := time.NewTicker(period / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			notifySystemd("WATCHDOG=1")
		}
	}
}
