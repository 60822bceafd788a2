package kv

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
)

// phpValues are what serialize() writes and what only looks like it, with whether PHP may read it where it stands.
var phpValues = map[string]bool{
	`N;`: true, `b:0;`: true, `b:1;`: true, `i:0;`: true, `i:-12;`: true, `d:0.1;`: true, `d:1.0E+25;`: true, `d:-1.0E-7;`: true, `d:3;`: true,
	`s:0:"";`: true, `s:3:"a";";`: true, "s:2:\"\x00\xff\";": true, `a:0:{}`: true, `a:2:{i:0;s:1:"x";s:1:"k";a:1:{i:5;b:1;}}`: true,
	`a:1:{s:1:"5";N;}`: true, `a:2:{i:0;i:1;i:0;i:2;}`: true,

	``: false, `5`: false, `text`: false, `N`: false, `N;N;`: false, `b:2;`: false, `b:1`: false, `i:;`: false, `i:+1;`: false, `i:1`: false,
	`i:99999999999999999999;`: false, `d:INF;`: false, `d:NAN;`: false, `d:.5;`: false, `d:1.;`: false, `d:1E;`: false,
	`s:1:"";`: false, `s:-1:"";`: false, `s:1:"ab";`: false, `s:01234567890:"";`: false, `s:5:"a";`: false, `s:1:'a';`: false,
	`a:1:{i:0;i:1;i:1;i:2;}`: false, `a:1:{}`: false, `a:1:{d:1;i:1;}`: false, `a:1:{N;i:1;}`: false, `a:999999999:{}`: false, `a:1:{i:0;R:1;}`: false,
	`O:8:"stdClass":0:{}`: false, `r:1;`: false, `R:1;`: false, `C:1:"A":0:{}`: false, `E:3:"A:B";`: false, `S:1:"a";`: false,
	`i:1;s:5:"admin";b:1;`: false, `a:1:{i:0;O:8:"stdClass":0:{}}`: false, `}i:1;a:0:{}}`: false,
}

func TestPlainPHP(t *testing.T) {
	for v, want := range phpValues {
		if got := isPlainPHP([]byte(v)); got != want {
			t.Errorf("isPlainPHP(%q) is %v, want %v", v, got, want)
		}
	}
	deep := strings.Repeat(`a:1:{i:0;`, 100_000) + `N;` + strings.Repeat(`}`, 100_000)
	if isPlainPHP([]byte(deep)) {
		t.Error("a value of 100000 levels was taken")
	}
}

// answerOf is what a client gets for values, by keys that are their numbers.
func answerOf(values [][]byte) []byte {
	f := Fetch{decode: true}
	for i, v := range values {
		f.items = append(f.items, Item{Key: "k" + string(rune('a'+i%26)) + strings.Repeat("x", i/26), Value: v, Found: true})
	}
	return f.AppendRaw(nil)
}

// FuzzPlainPHP: what is taken has no part that ends it early, so an answer with any value in it has the shape of one with none.
func FuzzPlainPHP(f *testing.F) {
	for v := range phpValues {
		f.Add([]byte(v))
	}
	f.Fuzz(func(t *testing.T, v []byte) {
		// An answer is an array of two arrays, and a value cannot change that: read as a value itself, it is whole.
		if answer := answerOf([][]byte{v, []byte(`i:1;`)}); !isPlainPHP(answer) && len(v) < 1e6 {
			// Deeper than a value may be is no mistake: the answer has two levels of its own.
			if rest, ok := plainPHP(answer, maxPHPDepth+2); !ok || len(rest) > 0 {
				t.Errorf("%q makes the answer %q, which is not whole", v, answer)
			}
		}
	})
}

// FuzzFetch: what a client sends is bytes of anybody.
func FuzzFetch(f *testing.F) {
	for _, s := range []string{"", "1", "1main", "1main\x00a", "0main\x00a\x00b", "1main\x00\x00", "2main\x00a", "2main\x00a\x00b", "3main\x00a", "1main\x00\xff"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Fetch
		if r.ParseRaw(data) != nil {
			return
		}
		joined := make([]string, len(r.items))
		for i := range r.items {
			joined[i] = r.items[i].Key
		}
		how := "0"
		if r.decode {
			how = "1"
		}
		if r.bare {
			how = "2"
		}
		if again := how + r.storage + "\x00" + strings.Join(joined, "\x00"); again != string(data) {
			t.Errorf("%q was read as %q", data, again)
		}
	})
}

// TestPHPReadsFetch with its own unserialize(): every value comes out as it would alone, whatever stands beside it.
func TestPHPReadsFetch(t *testing.T) {
	t.Parallel()
	php := testenv.Tool(t, "php", "apt install php-cli")
	var values [][]byte
	for v := range phpValues {
		values = append(values, []byte(v))
	}
	// Values that are one byte away from good ones.
	random := rand.New(rand.NewPCG(1, 2))
	for range testenv.Count(400, 20_000) {
		v := bytes.Clone(values[random.IntN(len(phpValues))])
		if len(v) > 0 {
			v[random.IntN(len(v))] = `0123456789:;"{}aisbdNOR-`[random.IntN(24)]
		}
		values = append(values, v)
	}
	input, err := json.Marshal(struct {
		Values [][]byte
		Answer []byte
	}{values, answerOf(values)})
	if err != nil {
		t.Fatal(err)
	}
	const script = `
		$in = json_decode(stream_get_contents(STDIN), true);
		$answer = unserialize(base64_decode($in['Answer']));
		if (!is_array($answer) || count($answer) !== 2) { die('the answer is not two arrays'); }
		[$values, $texts] = $answer;
		if (count($values) + count($texts) !== count($in['Values'])) { die(count($values) . ' and ' . count($texts) . ' values'); }
		foreach ($in['Values'] as $i => $bytes) {
			$bytes = base64_decode($bytes);
			$key = 'k' . chr(97 + $i % 26) . str_repeat('x', intdiv($i, 26));
			if (array_key_exists($key, $texts)) {
				if ($texts[$key] !== $bytes) { die("text $key: " . $bytes); }
			} elseif (serialize($values[$key]) !== serialize(unserialize($bytes))) {
				die("value $key: " . $bytes);
			}
		}
		echo count($values), ' ok';`
	cmd := exec.CommandContext(t.Context(), php, "-d", "memory_limit=1G", "-r", script)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.HasSuffix(out, []byte(" ok")) || bytes.HasPrefix(out, []byte("0 ")) {
		t.Fatalf("php: %v\n%.2000s", err, out)
	}
}
