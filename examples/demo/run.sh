#!/usr/bin/env bash
# What `make run` ends with: serve the demo of edge.yaml from the top of the checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."

# As root, Edge runs workers as www-data. A checkout below /root cannot be read by that user; then, and only for this demo,
# the workers run as root.
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=www-data --regid=www-data --clear-groups test -r "$PWD/examples/demo/worker.php" 2>/dev/null; then
	echo "edge: www-data cannot read $PWD: the demo's PHP workers run as root here (EDGE_PHP__DEMO__USER=root)"
	export EDGE_PHP__DEMO__USER=root
fi

# The C plugin is part of the demo where clang could build it.
if [ -f plugins-wasm/hardening/hardening.wasm ]; then
	export EDGE_HTTP__MIDDLEWARE='[stamp, hardening]'
	export EDGE_PLUGINS__MODULES__HARDENING__FILE=plugins-wasm/hardening/hardening.wasm
fi

exec ./edge serve
