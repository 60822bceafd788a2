// Package ipfilter tests the plugin ip-filter.
package ipfilter

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/plugins-wasm/plugintest"
	"github.com/edge-server/edge/wasmhost"
)

// status is what a client of that address gets, and the variables of its request.
func status(p *plugintest.Plugin, from string) (int, map[string]string) {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = from
	r.Header.Set("X-Forwarded-For", "10.0.0.1") // what anybody can write
	res, passed := p.Do(r, nil)
	if passed == nil {
		return res.Code, nil
	}
	return res.Code, passed.Vars
}

// from is an address with a port.
func from(ip string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]:1234"
	}
	return ip + ":1234"
}

func TestLists(t *testing.T) {
	t.Parallel()
	module := plugintest.C(t, "ip-filter")
	list := []string{"10.0.0.0/8", "192.0.2.7", "198.51.100.0/30", "198.51.100.4/30", "2001:db8::/33", "2001:db8:ffff::1", "203.0.113.0/25", "203.0.113.64/26"}
	deny := plugintest.Load(t, module, map[string]any{"mode": "deny", "list": list, "exempt": []string{"10.1.0.0/16"}, "status": 451, "message": "not \u00fcber <here>\n"})
	allow := plugintest.Load(t, module, map[string]any{"mode": "allow", "list": list, "exempt": []string{"1.1.1.1"}})
	for ip, listed := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "9.255.255.255": false, "11.0.0.0": false, "192.0.2.7": true, "192.0.2.6": false, "192.0.2.8": false,
		"198.51.100.0": true, "198.51.100.7": true, "198.51.100.8": false, "203.0.113.127": true, "203.0.113.128": false, "0.0.0.0": false, "255.255.255.255": false,
		"2001:db8::": true, "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff": true, "2001:db8:8000::": false, "2001:db8:ffff::1": true, "2001:db8:ffff::2": false,
		"::1": false, "::ffff:10.2.3.4": true, "::ffff:a02:304": true, "::a02:304": false, "fe80::1%eth0": false, "::": false, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": false,
	} {
		if got, _ := status(deny, from(ip)); (got == 451) != listed || got != 451 && got != 200 {
			t.Errorf("deny: %s gets %d", ip, got)
		}
		if got, _ := status(allow, from(ip)); (got == 200) != listed || got != 403 && got != 200 {
			t.Errorf("allow: %s gets %d", ip, got)
		}
	}
	if got, _ := status(deny, from("10.1.2.3")); got != 200 {
		t.Errorf("deny: what is exempt gets %d", got)
	}
	if got, _ := status(allow, from("1.1.1.1")); got != 200 {
		t.Errorf("allow: what is exempt gets %d", got)
	}
	for _, nobody := range []string{"", "@", "unix", "10.0.0.1.2:1", "[::1", "[]:1", "300.1.1.1:1", "010.0.0.1:1", "[1:2:3:4:5:6:7]:1", "[1:::2]:1", "[12345::]:1", "[::1:]:1", "[1::2::3]:1"} {
		for mode, p := range map[string]*plugintest.Plugin{"deny": deny, "allow": allow} {
			if got, _ := status(p, nobody); got == 200 {
				t.Errorf("%s: %q gets in", mode, nobody)
			}
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = "10.0.0.1:1"
	if res, _ := deny.Do(r, nil); res.Body.String() != "not \u00fcber <here>\n" || res.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("answer %q %v", res.Body, res.Header())
	}
}

// TestFamilies: all of IPv6 is not all of IPv4.
func TestFamilies(t *testing.T) {
	t.Parallel()
	module := plugintest.C(t, "ip-filter")
	for network, want := range map[string][2]int{"::/0": {403, 200}, "0.0.0.0/0": {200, 403}, "::ffff:0:0/96": {200, 403}} {
		p := plugintest.Load(t, module, map[string]any{"mode": "allow", "list": []string{network}})
		v4, _ := status(p, "192.0.2.1:1")
		v6, _ := status(p, "[2001:db8::1]:1")
		if v4 != want[0] || v6 != want[1] {
			t.Errorf("%s: %d for IPv4 and %d for IPv6, want %v", network, v4, v6, want)
		}
	}
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := testenv.Dir(t)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func granted(dir string) plugintest.Setting {
	return plugintest.Allow(wasmhost.Allow{Folders: []string{dir + ":/geo"}})
}

func TestFiles(t *testing.T) {
	t.Parallel()
	module := plugintest.C(t, "ip-filter")
	dir := folder(t, map[string]string{
		"list.txt": "# blocked\n192.0.2.0/24   # a net\r\n\n  2001:db8::/32\n203.0.113.9",
		"geo.csv":  "first,last,country\n\"192.0.2.0\",\"192.0.2.127\",\"DE\",\"Germany\"\n192.0.2.128,192.0.2.255,fr\n2001:db8::/32,DE\n198.51.100.0/24,-\n0.0.0.0,0.255.255.255,US\n",
	})
	one := func(m *wasmhost.ModuleConfig) { m.Instances.Max = 1 }
	p := plugintest.Load(t, module, map[string]any{"mode": "deny", "file": "/geo/list.txt", "refresh_seconds": 1}, granted(dir), one)
	expect := func(what string, p *plugintest.Plugin, want map[string]int) {
		t.Helper()
		for ip, code := range want {
			if got, _ := status(p, from(ip)); got != code {
				t.Errorf("%s: %s gets %d, want %d", what, ip, got, code)
			}
		}
	}
	expect("file", p, map[string]int{"192.0.2.1": 403, "2001:db8::1": 403, "203.0.113.9": 403, "203.0.113.8": 200})

	// A new content is taken, a broken one is not.
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "list.txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	write("203.0.113.0/24\n")
	expect("new content", p, map[string]int{"192.0.2.1": 200, "203.0.113.8": 403})
	write("10.0.0.0/8\nrubbish\n")
	expect("broken content", p, map[string]int{"10.0.0.1": 200, "203.0.113.8": 403})
	if !strings.Contains(p.Log.String(), "the list /geo/list.txt cannot be had, the old one serves on: line 2: rubbish: it is no network") {
		t.Errorf("log: %s", p.Log)
	}
	write("10.0.0.0/8\n")
	expect("mended content", p, map[string]int{"10.0.0.1": 403, "203.0.113.8": 200})
	if err := os.Remove(filepath.Join(dir, "list.txt")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1100 * time.Millisecond)
	expect("no file", p, map[string]int{"10.0.0.1": 403, "203.0.113.8": 200})

	geo := plugintest.Load(t, module, map[string]any{"mode": "allow", "geo": map[string]any{"file": "/geo/geo.csv", "countries": []string{"de"}, "variable": "geo.country"}}, granted(dir))
	expect("countries", geo, map[string]int{"192.0.2.1": 200, "192.0.2.128": 403, "2001:db8::1": 200, "198.51.100.1": 403, "8.8.8.8": 403})
	if _, vars := status(geo, "192.0.2.9:1"); vars["geo.country"] != "DE" {
		t.Errorf("variables: %v", vars)
	}
	only := plugintest.Load(t, module, map[string]any{"mode": "deny", "geo": map[string]any{"file": "/geo/geo.csv", "countries": []string{"FR", "US"}}}, granted(dir))
	expect("countries kept out", only, map[string]int{"192.0.2.1": 200, "192.0.2.128": 403, "0.1.2.3": 403, "8.8.8.8": 200})
}

// TestLarge compares a long list, not sorted, with what net/netip says.
func TestLarge(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	var networks []netip.Prefix
	for range testenv.Count(20000, 300000) {
		var addr netip.Addr
		var bits int
		if random.IntN(2) == 0 {
			v4 := [4]byte{}
			for i := range v4 {
				v4[i] = byte(random.Uint32())
			}
			addr, bits = netip.AddrFrom4(v4), 16+random.IntN(17)
		} else {
			v6 := [16]byte{0x20, 0x01}
			for i := 2; i < 16; i++ {
				v6[i] = byte(random.Uint32())
			}
			addr, bits = netip.AddrFrom16(v6), 24+random.IntN(105)
		}
		n := netip.PrefixFrom(addr, bits).Masked()
		networks = append(networks, n)
		fmt.Fprintln(&text, n)
	}
	p := plugintest.Load(t, plugintest.C(t, "ip-filter"), map[string]any{"mode": "deny", "file": "/geo/list.txt"}, granted(folder(t, map[string]string{"list.txt": text.String()})))
	denied := 0
	for i := range 400 {
		n := networks[random.IntN(len(networks))]
		ip := n.Addr()
		switch i % 4 {
		case 1:
			ip = ip.Prev()
		case 2:
			ip = lastOf(n)
		case 3:
			ip = lastOf(n).Next()
		}
		if !ip.IsValid() {
			continue
		}
		want := 200
		for _, n := range networks {
			if n.Contains(ip) {
				want = 403
				denied++
				break
			}
		}
		if got, _ := status(p, from(ip.String())); got != want {
			t.Errorf("%s gets %d, want %d", ip, got, want)
		}
	}
	if denied < 100 || denied == 400 {
		t.Errorf("%d of 400 were kept out: the test tests too little", denied)
	}
}

func lastOf(n netip.Prefix) netip.Addr {
	bytes := n.Addr().AsSlice()
	for i := n.Bits(); i < 8*len(bytes); i++ {
		bytes[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	module := plugintest.C(t, "ip-filter")
	dir := folder(t, map[string]string{
		"bad.txt": "10.0.0.0/8\n10.0.0.1/8\n", "long.txt": strings.Repeat("x", 70000), "country.csv": "1.0.0.0/24,Germany\n",
		"overlap.csv": "1.0.0.0/24,DE\n1.0.0.0/25,FR\n", "backwards.csv": "1.0.0.9,1.0.0.1,DE\n", "none.csv": "1.0.0.0/24\n", "mixed.csv": "1.0.0.1,2001:db8::,DE\n",
	})
	geo := func(file string) map[string]any {
		return map[string]any{"mode": "deny", "geo": map[string]any{"file": "/geo/" + file, "countries": []string{"DE"}}}
	}
	list := func(networks ...string) map[string]any { return map[string]any{"mode": "deny", "list": networks} }
	for _, row := range []struct {
		config any
		want   string
	}{
		{nil, "config: it must be an object"},
		{"10.0.0.0/8", "config: it must be an object"},
		{map[string]any{}, "config.mode: it is missing"},
		{map[string]any{"mode": "block"}, "config.mode: deny (what is listed is kept out) or allow"},
		{map[string]any{"mode": "deny"}, "config: it needs list, file or geo"},
		{map[string]any{"mode": "deny", "list": "10.0.0.0/8"}, "config.list: a list of networks"},
		{map[string]any{"lists": 1}, "config.lists: this key is not known: mode, list"},
		{list("10.0.0.0/8", "10.0.0"), "config.list[1]: 10.0.0: it is no network such as"},
		{list("10.0.0.0/33"), "config.list[0]: 10.0.0.0/33: it is no network"},
		{list("10.1.0.0/8"), "config.list[0]: 10.1.0.0/8: it has bits behind its prefix"},
		{list("2001:db8::1/64"), "it has bits behind its prefix"},
		{list("1:2:3:4:5:6:7:8:9"), "it is no network"},
		{list("010.0.0.0/8"), "it is no network"},
		{map[string]any{"mode": "deny", "list": []string{"::1"}, "status": 200}, "config.status: a number from 400 to 599"},
		{map[string]any{"mode": "deny", "list": []string{"::1"}, "refresh_seconds": -1}, "config.refresh_seconds: a whole number"},
		{map[string]any{"mode": "deny", "file": "/other/list.txt"}, "config.file: /other/list.txt: it is in no folder of allow.folders"},
		{map[string]any{"mode": "deny", "file": "list.txt"}, "config.file: a path in a folder"},
		{map[string]any{"mode": "deny", "file": "/geo/none.txt"}, "config.file: /geo/none.txt: it cannot be opened"},
		{map[string]any{"mode": "deny", "file": "/geo/../../etc/passwd"}, "it cannot be opened"},
		{map[string]any{"mode": "deny", "file": "/geo/bad.txt"}, "config.file: /geo/bad.txt: line 2: 10.0.0.1/8: it has bits behind its prefix"},
		{map[string]any{"mode": "deny", "file": "/geo/long.txt"}, "a line has more than 65536 bytes"},
		{map[string]any{"mode": "deny", "geo": map[string]any{"file": "/geo/geo.csv"}}, "config.geo: it needs file, and countries or variable"},
		{map[string]any{"mode": "deny", "geo": map[string]any{"file": "/geo/geo.csv", "countries": []string{"Germany"}}}, "config.geo.countries"},
		{map[string]any{"mode": "deny", "geo": map[string]any{"file": "/geo/geo.csv", "variable": "edge.route"}}, "config.geo.variable"},
		{geo("country.csv"), "line 1: 1.0.0.0/24,Germany: it is not FIRST,LAST,COUNTRY or NETWORK,COUNTRY"},
		{geo("none.csv"), "line 1: 1.0.0.0/24: it is not FIRST,LAST,COUNTRY"},
		{geo("overlap.csv"), "ranges of different countries overlap"},
		{geo("backwards.csv"), "the first address is behind the last one"},
		{geo("mixed.csv"), "of another family"},
	} {
		if row.want == "ranges of different countries overlap" {
			row.config.(map[string]any)["geo"].(map[string]any)["countries"] = []string{"DE", "FR"}
		}
		if _, err := plugintest.TryLoad(t, module, row.config, granted(dir)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v: %v; want %s", row.config, err, row.want)
		}
	}
}
