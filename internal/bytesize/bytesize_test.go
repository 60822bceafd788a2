package bytesize

import "testing"

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "4096": 4096, "64KiB": 64 * KiB, "64 kib": 64 * KiB, "1.5MiB": 3 * MiB / 2, "2GiB": 2 * GiB,
		"1KB": 1000, "10MB": 10_000_000, "8M": 8 * MiB, "12b": 12,
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1TiB", "1e300", "NaN", "12 parsecs"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("Parse(%q) = %d, want an error", text, got)
		}
	}
}

func TestStringIsReadBack(t *testing.T) {
	t.Parallel()
	for _, s := range []Size{0, 1, 1023, KiB, 1500, 64 * KiB, MiB, 3 * GiB} {
		if got, err := Parse(s.String()); err != nil || got != s {
			t.Errorf("Parse(%q) = %d, %v; want %d", s.String(), got, err, s)
		}
	}
}
