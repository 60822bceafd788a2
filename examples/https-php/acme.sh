#!/usr/bin/env bash
# A certificate authority for this machine alone: pebble, which speaks ACME as Let's Encrypt does, and a name server that leads every name
# here. Ctrl-C ends both. What browsers and curl need to trust its certificates is then in acme/root.pem.
set -euo pipefail
cd "$(dirname "$0")"
bin="$PWD/acme/bin"
mkdir -p "$bin"

# Both are one `go install` away; `make deps` of the checkout has them, too.
for tool in pebble pebble-challtestsrv; do
	[ -x "$bin/$tool" ] || cp "../../.tools/$tool" "$bin/" 2>/dev/null ||
		GOBIN="$bin" go install "github.com/letsencrypt/pebble/v2/cmd/$tool@v2.10.1"
done

# Its own HTTPS has a certificate that acme/ca.pem signs: edge.yaml names it as ca_root.
if [ ! -f acme/ca.pem ]; then
	openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=localhost" -addext "subjectAltName=DNS:localhost" \
		-keyout acme/ca.key -out acme/ca.pem 2>/dev/null
fi
# It looks for the site where edge.yaml serves it: ports 8080 and 8443 instead of 80 and 443, which need root.
cat > acme/pebble.json <<'JSON'
{"pebble": {
	"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
	"certificate": "acme/ca.pem", "privateKey": "acme/ca.key", "httpPort": 8080, "tlsPort": 8443,
	"profiles": {"default": {"description": "ninety days", "validityPeriod": 7776000}}
}}
JSON

"$bin/pebble-challtestsrv" -dnsserver 127.0.0.1:8053 -defaultIPv4 127.0.0.1 -defaultIPv6 "" \
	-http01 "" -https01 "" -tlsalpn01 "" -doh "" -management 127.0.0.1:8055 >acme/names.log 2>&1 &
names=$!
PEBBLE_VA_NOSLEEP=1 "$bin/pebble" -config acme/pebble.json -dnsserver 127.0.0.1:8053 >acme/pebble.log 2>&1 &
authority=$!
trap 'kill $names $authority 2>/dev/null; wait' EXIT

until curl -fsS --cacert acme/ca.pem https://localhost:15000/roots/0 -o acme/root.pem 2>/dev/null; do
	kill -0 $authority || { tail acme/pebble.log; exit 1; }
	sleep 0.1
done
echo "The authority answers at https://localhost:14000/dir; acme/root.pem is what it signs with. Ctrl-C ends it."
wait $authority
