package trust_test

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/wasmhost/trust"
)

func keys(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := trust.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func sign(t testing.TB, content, name string, key ed25519.PrivateKey) []byte {
	t.Helper()
	file, err := trust.Sign([]byte(content), name, key)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestSignAndVerify(t *testing.T) {
	t.Parallel()
	public, private := keys(t)
	other, otherPrivate := keys(t)
	good := sign(t, "content", "jwt-auth", private)
	for name, tt := range map[string]struct {
		content, name string
		file          []byte
		keys          []ed25519.PublicKey
		want          string
	}{
		"good":            {"content", "jwt-auth", good, []ed25519.PublicKey{other, public}, ""},
		"for any name":    {"content", "x", sign(t, "content", "", private), []ed25519.PublicKey{public}, ""},
		"another content": {"content2", "jwt-auth", good, []ed25519.PublicKey{public}, "for another content"},
		"another name":    {"content", "hello", good, []ed25519.PublicKey{public}, `called "jwt-auth", and this one is called "hello"`},
		"another key":     {"content", "jwt-auth", sign(t, "content", "", otherPrivate), []ed25519.PublicKey{public}, "which is not trusted"},
		"no key":          {"content", "jwt-auth", good, nil, "which is not trusted"},
		"a key swapped in": {"content", "jwt-auth", bytes.Replace(sign(t, "content", "", otherPrivate),
			[]byte(trust.FormatPublicKey(other)), []byte(trust.FormatPublicKey(public)), 1), []ed25519.PublicKey{public}, "forged or damaged"},
		"the name taken out": {"content", "hello", bytes.Replace(good, []byte("name jwt-auth\n"), nil, 1), []ed25519.PublicKey{public}, "forged or damaged"},
		"empty":              {"content", "jwt-auth", nil, []ed25519.PublicKey{public}, "not a signature of Edge"},
		"cut off":            {"content", "jwt-auth", good[:len(good)-1], []ed25519.PublicKey{public}, "the last one ends"},
		"a line more":        {"content", "jwt-auth", append(bytes.Clone(good), "x\n"...), []ed25519.PublicKey{public}, "6 lines"},
		"huge":               {"content", "jwt-auth", append(bytes.Clone(good), make([]byte, 5000)...), []ed25519.PublicKey{public}, "at most 4096"},
		"hash in capitals": {"content", "jwt-auth", bytes.Replace(good, bytes.SplitAfter(good, []byte("\n"))[3],
			append([]byte("sha256 "), append(bytes.ToUpper(bytes.SplitAfter(good, []byte("\n"))[3][7:]), []byte("")...)...), 1), []ed25519.PublicKey{public}, "not written as it should be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := trust.Verify([]byte(tt.content), tt.name, tt.file, tt.keys)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
	if _, err := trust.Sign(nil, "a\nb", private); err == nil {
		t.Error("a name with a line break was signed")
	}
}

func TestKeysAsText(t *testing.T) {
	t.Parallel()
	public, private := keys(t)
	text, err := trust.MarshalPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := trust.ParsePrivateKey(text); err != nil || !again.Equal(private) {
		t.Errorf("a private key came back as %v, %v", again, err)
	}
	if again, err := trust.ParsePublicKey(trust.FormatPublicKey(public)); err != nil || !again.Equal(public) {
		t.Errorf("a public key came back as %v, %v", again, err)
	}
	for _, bad := range []string{"", "ed25519:", "ed25519:AAAA", "rsa:AAAA", strings.TrimSuffix(trust.FormatPublicKey(public), "=")} {
		if _, err := trust.ParsePublicKey(bad); err == nil {
			t.Errorf("%q is taken for a public key", bad)
		}
	}
	if _, err := trust.ParsePrivateKey([]byte("hello")); err == nil {
		t.Error("a greeting is taken for a private key")
	}
}

// TestKeyOfOpenSSL: keys made elsewhere work.
func TestKeyOfOpenSSL(t *testing.T) {
	t.Parallel()
	openssl := testenv.Tool(t, "openssl", "apt-get install openssl")
	file := filepath.Join(testenv.Dir(t), "key.pem")
	if out, err := exec.Command(openssl, "genpkey", "-algorithm", "ed25519", "-out", file).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := trust.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := trust.Verify([]byte("x"), "", sign(t, "x", "", key), []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}); err != nil {
		t.Error(err)
	}
}

// FuzzVerify: no file but one that Sign made verifies, whatever its bytes.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	trusted := []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}
	good, err := trust.Sign([]byte("content"), "name", key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:40])
	f.Fuzz(func(t *testing.T, file []byte) {
		if trust.Verify([]byte("content"), "name", file, trusted) == nil && !bytes.Equal(file, good) {
			nameless, _ := trust.Sign([]byte("content"), "", key)
			if !bytes.Equal(file, nameless) {
				t.Errorf("a file that was not signed verifies:\n%s", file)
			}
		}
	})
}
