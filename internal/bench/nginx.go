package main

import (
	"context"
	_ "embed"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

var (
	//go:embed conf/nginx.conf.tmpl
	nginxTemplate string
	//go:embed conf/php-fpm.conf.tmpl
	fpmTemplate string
)

// opcacheSettings make PHP as quick as it gets, in php-fpm and in the workers of Edge: opcache on, and source files not looked
// at again.
var opcacheSettings = []string{"-d", "opcache.enable=1", "-d", "opcache.enable_cli=1", "-d", "opcache.validate_timestamps=0"}

// launchNginx starts nginx in front of php-fpm, over a unix socket.
func launchNginx(ctx context.Context, space *workspace, srv *server) error {
	if err := checkOpcache(ctx, space.tool["php-fpm"]); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	srv.base = "http://" + address
	data := newNginxData(space, srv, address)
	fpmConf, err := space.render(srv.title()+"-fpm.conf", fpmTemplate, data)
	if err != nil {
		return err
	}
	argv := append([]string{space.tool["php-fpm"], "--nodaemonize", "--fpm-config", fpmConf}, opcacheSettings...)
	if err := srv.run(space, "php-fpm", argv...); err != nil {
		return err
	}
	nginxConf, err := space.render(srv.title()+".conf", nginxTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "nginx", space.tool["nginx"], "-p", space.Dir, "-e", "stderr", "-c", nginxConf)
}

// nginxData is what conf/nginx.conf.tmpl and conf/php-fpm.conf.tmpl see.
type nginxData struct {
	*workspace
	Address, Socket, Pid string
	Root, Index          string            // the folder with the front controller
	Scenarios            []scenario        // each a location of its own, whose name nginx tells PHP; none: one location for all
	Env                  map[string]string // of PHP
	Children             int
}

func newNginxData(space *workspace, srv *server, address string) nginxData {
	data := nginxData{
		workspace: space, Address: address, Socket: space.path(srv.title() + ".sock"), Pid: space.path(srv.title() + ".pid"),
		Root: space.php, Env: srv.app.env, Children: phpWorkers,
	}
	if srv.app.name != "" {
		data.Root = filepath.Join(space.appDir(srv.app.name), "public")
	} else {
		data.Scenarios = slices.DeleteFunc(slices.Clone(space.scenarios), func(s scenario) bool { return !srv.serves(s) })
	}
	data.Index = filepath.Join(data.Root, "index.php")
	return data
}

// checkOpcache fails when php-fpm would compile the scripts for every request, which nobody runs in earnest.
func checkOpcache(ctx context.Context, fpm string) error {
	out, err := exec.CommandContext(ctx, fpm, append([]string{"-i"}, opcacheSettings...)...).Output()
	if err != nil {
		return err
	}
	if !strings.Contains(string(out), "Opcode Caching => Up and Running") {
		return errors.New("php-fpm runs without opcache: apt-get install php-opcache")
	}
	return nil
}
