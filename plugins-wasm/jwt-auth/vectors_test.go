package main

import (
	"encoding/json"
	"testing"
	"time"
)

// The examples of RFC 7515 (appendix A), RFC 7519 and RFC 8037 (appendix A).
const (
	rfcPayload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

	rfcSecret = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	rfcRSA    = `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	rfcP256   = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfcP521   = `{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}`
	rfcEd     = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

	rfcHS256    = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + rfcPayload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcRS256    = "eyJhbGciOiJSUzI1NiJ9." + rfcPayload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfcES256    = "eyJhbGciOiJFUzI1NiJ9." + rfcPayload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfcES512    = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
	rfcEdDSA    = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	rfcUnsigned = "eyJhbGciOiJub25lIn0." + rfcPayload + "."
)

func withKeys(t *testing.T, keys ...string) *settings {
	t.Helper()
	text := `{"leeway": "0s", "keys": [`
	for i, k := range keys {
		if i > 0 {
			text += ","
		}
		text += `{"jwk": ` + k + `}`
	}
	s, err := parseConfig([]byte(text + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVectors(t *testing.T) {
	t.Parallel()
	all := []string{rfcSecret, rfcRSA, rfcP256, rfcP521, rfcEd}
	for name, v := range map[string]struct{ key, token string }{
		"HS256, RFC 7515 A.1": {rfcSecret, rfcHS256},
		"RS256, RFC 7515 A.2": {rfcRSA, rfcRS256},
		"ES256, RFC 7515 A.3": {rfcP256, rfcES256},
		"ES512, RFC 7515 A.4": {rfcP521, rfcES512},
		"EdDSA, RFC 8037 A.4": {rfcEd, rfcEdDSA},
	} {
		parsed, err := parseToken(v.token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !withKeys(t, v.key).signedByKnown(parsed) || !withKeys(t, all...).signedByKnown(parsed) {
			t.Errorf("%s: the signature is not taken", name)
		}
		for _, other := range all {
			if other != v.key && withKeys(t, other).signedByKnown(parsed) {
				t.Errorf("%s: the signature is taken for one by %s", name, other)
			}
		}
		for i := range parsed.signature { // one bit of each byte
			parsed.signature[i] ^= 1
			if i%7 == 0 && withKeys(t, v.key).signedByKnown(parsed) {
				t.Errorf("%s: a signature with byte %d changed is taken", name, i)
			}
			parsed.signature[i] ^= 1
		}
		parsed.signed[len(parsed.signed)-1] ^= 1
		if withKeys(t, v.key).signedByKnown(parsed) {
			t.Errorf("%s: the signature of something else is taken", name)
		}
	}
}

// TestVectorClaims: the token of RFC 7519, 3.1 is good until its exp, and not a second longer.
func TestVectorClaims(t *testing.T) {
	t.Parallel()
	s := withKeys(t, rfcSecret)
	c, err := s.admit(rfcHS256, time.Unix(1300819379, 0))
	if err != nil || c["iss"] != "joe" || c["http://example.com/is_root"] != true || c["exp"] != json.Number("1300819380") {
		t.Errorf("claims %v, %v", c, err)
	}
	for range 2 { // the second time from the cache
		if _, err := s.admit(rfcHS256, time.Unix(1300819380, 0)); err == nil || err.Error() != "the token has expired" {
			t.Errorf("a second later: %v", err)
		}
	}
	if _, err := s.admit(rfcUnsigned, time.Unix(1300819379, 0)); err == nil {
		t.Error("the unsecured token of RFC 7519, 6.1 is taken")
	}
}

func FuzzToken(f *testing.F) {
	for _, token := range []string{rfcHS256, rfcRS256, rfcES256, rfcES512, rfcEdDSA, rfcUnsigned, "", "..", "a.b.c"} {
		f.Add(token)
	}
	signed := map[string]bool{rfcHS256: true, rfcRS256: true, rfcES256: true, rfcES512: true, rfcEdDSA: true}
	f.Fuzz(func(t *testing.T, text string) {
		s := withKeys(t, rfcSecret, rfcRSA, rfcP256, rfcP521, rfcEd)
		if _, err := s.verified(text, time.Unix(1300819379, 0)); err == nil && !signed[text] {
			t.Errorf("%q is taken", text)
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys": [` + rfcRSA + `, ` + rfcP256 + `, ` + rfcEd + `, ` + rfcSecret + `]}`))
	f.Add([]byte(`{"keys": [{"kty": "RSA", "n": "", "e": "AQAB"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k := keySet{algorithms: []string{"RS256", "ES256", "EdDSA"}}
		keys, _ := k.read(text)
		for _, one := range keys {
			if one.secret != nil || len(one.algs) == 0 {
				t.Errorf("%+v", one)
			}
		}
	})
}
