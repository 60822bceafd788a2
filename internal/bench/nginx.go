package main

import (
	"context"
	_ "embed"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
)

var (
	//go:embed conf/nginx.conf.tmpl
	nginxTemplate string
	//go:embed conf/php-fpm.conf.tmpl
	fpmTemplate string
)

// fpmSettings make php-fpm as quick as it gets: opcache on, and source files not looked at again.
var fpmSettings = []string{"-d", "opcache.enable=1", "-d", "opcache.validate_timestamps=0"}

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
	data := struct {
		*workspace
		Address, Socket, Index string
		Children               int
	}{space, address, space.path("php-fpm.sock"), filepath.Join(space.php, "index.php"), phpWorkers}

	fpmConf, err := space.render("php-fpm.conf", fpmTemplate, data)
	if err != nil {
		return err
	}
	argv := append([]string{space.tool["php-fpm"], "--nodaemonize", "--fpm-config", fpmConf}, fpmSettings...)
	if err := srv.run(space, "php-fpm", argv...); err != nil {
		return err
	}
	nginxConf, err := space.render("nginx.conf", nginxTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "nginx", space.tool["nginx"], "-p", space.Dir, "-e", "stderr", "-c", nginxConf)
}

// checkOpcache fails when php-fpm would compile the scripts for every request, which nobody runs in earnest.
func checkOpcache(ctx context.Context, fpm string) error {
	out, err := exec.CommandContext(ctx, fpm, append([]string{"-i"}, fpmSettings...)...).Output()
	if err != nil {
		return err
	}
	if !strings.Contains(string(out), "Opcode Caching => Up and Running") {
		return errors.New("php-fpm runs without opcache: apt-get install php-opcache")
	}
	return nil
}
