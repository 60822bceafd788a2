package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed conf/files.yaml.tmpl
var filesTemplate string

// fileServer is a way to serve a folder over HTTP/1, 2 and 3.
type fileServer struct {
	name, about string
	tools       []string
	loads       []string // keys of fileLoads; nil: all

	launch func(ctx context.Context, space *workspace, site fileSite, srv *server) error
}

// fileSite is what every one of them serves.
type fileSite struct {
	folder, cert, key string
	plain, tls        string // addresses
}

const (
	edgeFiles = "edge"
	bareFiles = "fileserver"
	caddy     = "caddy"
	fewRoutes = "edge-100-routes"
	allRoutes = "edge-10000-routes"

	filePath = "/page.html"
)

var fileServers = []fileServer{
	{edgeFiles, "Edge: router, access log, metrics and the wasm middleware `hardening`", []string{"go", "clang", "wasm-ld"}, nil, launchEdgeFiles(0)},
	{bareFiles, "http.FileServer on net/http, on quic-go for HTTP/3: no log, no metrics", nil, nil, launchBareFiles},
	{caddy, "Caddy's file_server: no log, no metrics", []string{"caddy"}, nil, launchCaddy},
	{fewRoutes, "Edge as above, behind 100 routes, half of them patterns", nil, []string{"h1"}, launchEdgeFiles(100)},
	{allRoutes, "the same behind 10,000 routes", nil, []string{"h1"}, launchEdgeFiles(10_000)},
}

func (f fileServer) has(load string) bool {
	return f.loads == nil || slices.Contains(f.loads, load)
}

// fileLoad is the same file over one protocol.
type fileLoad struct {
	key, title, about string

	run func(ctx context.Context, opts options, space *workspace, site fileSite) (done uint64, took time.Duration, err error)
}

var fileLoads = []fileLoad{
	{"h1", "HTTP/1.1", "wrk with 16 connections, without TLS.", driveFilesH1},
	{"h2", "HTTP/2", "h2load with 16 connections and 10 streams each, TLS.", driveFilesH2},
	{"h3", "HTTP/3", "quic-go's client with 8 connections and 10 streams each; it takes the larger part of the processors.", driveFilesH3},
}

// fileResult is one server over one protocol.
type fileResult struct {
	server fileServer
	rate   []float64 // answers per second
	cpu    []float64 // microseconds of the server for one
}

// benchFiles measures in rounds that visit every server, so that the noise of the machine falls on all alike.
func benchFiles(ctx context.Context, opts options, space *workspace, progress io.Writer) (sections []section, err error) {
	cert, key, err := writePair(space)
	if err != nil {
		return nil, err
	}
	folder := space.path("site")
	page := []byte(strings.Repeat("1 KiB of a page.", 64))
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(folder+filePath, page, 0o644)); err != nil {
		return nil, err
	}
	var servers []*server
	defer func() { err = errors.Join(err, stopAll(servers)) }()
	sites := make([]fileSite, len(fileServers))
	for i, f := range fileServers {
		sites[i] = fileSite{folder: folder, cert: cert, key: key}
		var errs [2]error
		sites[i].plain, errs[0] = freeAddress()
		sites[i].tls, errs[1] = freeAddress()
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		srv := &server{target: target{Name: "files-" + f.name}, base: "http://" + sites[i].plain}
		fmt.Fprintf(progress, "starting %s\n", srv.Name)
		servers = append(servers, srv)
		if err := f.launch(ctx, space, sites[i], srv); err != nil {
			return nil, fmt.Errorf("server %s: %w", f.name, err)
		}
		if err := awaitPage(ctx, srv, string(page)); err != nil {
			return nil, fmt.Errorf("server %s: %w", f.name, err)
		}
	}
	machine, measured := describeMachine(ctx, space), map[string][]fileResult{}
	for _, load := range fileLoads {
		results := make([]fileResult, len(fileServers))
		for round := range opts.fileRounds + 1 { // the first one warms
			for turn := range fileServers {
				i := (round + turn) % len(fileServers)
				results[i].server = fileServers[i]
				if !fileServers[i].has(load.key) {
					continue
				}
				rate, cpu, err := load.sample(ctx, opts, space, sites[i], servers[i])
				if err != nil {
					return nil, interrupted(ctx, errors.Join(fmt.Errorf("files over %s: %s: %w", load.key, fileServers[i].name, err), servers[i].died()))
				}
				if round == 0 {
					continue
				}
				results[i].rate, results[i].cpu = append(results[i].rate, rate), append(results[i].cpu, cpu)
				fmt.Fprintf(progress, "files %s %d/%d %-18s %9.0f answers/s\n", load.key, round, opts.fileRounds, fileServers[i].name, rate)
			}
		}
		measured[load.key] = results
		sections = append(sections, fileSection(load, results, opts, machine))
	}
	return append([]section{fileBarSection(measured)}, sections...), nil
}

func (l fileLoad) sample(ctx context.Context, opts options, space *workspace, site fileSite, srv *server) (rate, cpu float64, err error) {
	before, _, failed := srv.usage()
	done, took, err := l.run(ctx, opts, space, site)
	after, _, last := srv.usage()
	if err := errors.Join(err, failed, last); err != nil {
		return 0, 0, err
	}
	return float64(done) / took.Seconds(), microseconds(after.server-before.server) / float64(done), nil
}

// launchEdgeFiles starts Edge with so many routes before that of the folder.
func launchEdgeFiles(routes int) func(context.Context, *workspace, fileSite, *server) error {
	return func(ctx context.Context, space *workspace, site fileSite, srv *server) error {
		binary, err := space.edgeBinary(ctx)
		if err != nil {
			return err
		}
		metrics, err := freeAddress()
		if err != nil {
			return err
		}
		module, err := hardening.build(ctx, space)
		if err != nil {
			return err
		}
		data := struct {
			edgeData
			TLSAddress, Cert, Key, Log, Folder, Metrics string
			Routes                                      []string
		}{
			edgeData:   edgeData{workspace: space, Address: site.plain, StateDir: space.path(srv.Name + ".state"), Guest: hardening.name, Module: module},
			TLSAddress: site.tls, Cert: site.cert, Key: site.key, Log: space.path(srv.Name + ".access"), Folder: site.folder, Metrics: metrics,
		}
		for i := range routes / 2 {
			n := strconv.Itoa(i)
			data.Routes = append(data.Routes, "/articles/"+n, "/shop-"+n+"/{category}/items/{item}")
		}
		config, err := space.render(srv.Name+".yaml", filesTemplate, data)
		if err != nil {
			return err
		}
		srv.proof = hardening.proof
		return srv.run(space, "server", binary, "serve", "-c", config)
	}
}

// launchCaddy starts Caddy with nothing but the folder.
func launchCaddy(_ context.Context, space *workspace, site fileSite, srv *server) error {
	config := space.path("Caddyfile")
	text := fmt.Sprintf("{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"+
		"http://%s {\n\troot * %q\n\tfile_server\n}\nhttps://%s {\n\ttls %q %q\n\troot * %q\n\tfile_server\n}\n",
		site.plain, site.folder, site.tls, site.cert, site.key, site.folder)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	return srv.run(space, "server", space.tool["caddy"], "run", "--config", config, "--adapter", "caddyfile")
}
