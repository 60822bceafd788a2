package pluginkit

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTemplates: every language has every kind, with a source, a test and the SDK, and nothing is left open in them. That they
// build and run is tested with the whole program, in cmd/edge.
func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, language := range Languages() {
		for _, kind := range Kinds() {
			dir := filepath.Join(t.TempDir(), "my-plugin")
			if err := New(dir, language, kind); err != nil {
				t.Fatal(err)
			}
			project, err := OpenProject(dir)
			if err != nil || project.Language != language || project.Name != "my-plugin" {
				t.Errorf("%s %s is taken for %+v (%v)", language, kind, project, err)
			}
			files, tests := inspectFiles(t, dir)
			if files < 3 || tests == 0 {
				t.Errorf("%s %s has %d files, %d with a test", language, kind, files, tests)
			}
			if info, err := os.Stat(filepath.Join(dir, SDKFolder)); err != nil || !info.IsDir() {
				t.Errorf("%s %s has no SDK: %v", language, kind, err)
			}
			if err := New(dir, language, kind); err == nil {
				t.Errorf("%s %s was written over what was there", language, kind)
			}
		}
	}
}

var placeholder = regexp.MustCompile(`\{\{[a-z]+\}\}|NAME|\.tmpl`)

func inspectFiles(t *testing.T, dir string) (files, tests int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == SDKFolder {
				return filepath.SkipDir
			}
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		text := string(content)
		if left := placeholder.FindString(text + path); left != "" {
			t.Errorf("%s has %q left", path, left)
		}
		if strings.Contains(text, "#[test]") || strings.Contains(text, "\ntest \"") || strings.Contains(entry.Name(), "test") {
			tests++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, tests
}

// TestInstallIsWhole: who looks at the target sees the old content or the new one.
func TestInstallIsWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	built, out := filepath.Join(dir, "built"), filepath.Join(dir, "out")
	if err := os.WriteFile(built, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := install(built, out); err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 3)
	if _, err := before.Read(held); string(held) != "old" || err != nil {
		t.Errorf("a reader of the old file sees %q (%v)", held, err)
	}
	if content, err := os.ReadFile(out); string(content) != "new" || err != nil {
		t.Errorf("the file is %q (%v)", content, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("the folder has %d entries, want 2", len(entries))
	}
}
