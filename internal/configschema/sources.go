package configschema

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

const module = "github.com/edge-server/edge/"

// sources finds comments in the Go files of this module, a folder at a time.
type sources struct {
	root    string
	folders map[string]map[string]string // comments by "Type" and "Type.Field", by folder
}

// of returns the comments of the package that a type comes from.
func (s *sources) of(t reflect.Type) (map[string]string, error) {
	folder, ours := strings.CutPrefix(t.PkgPath(), module)
	if !ours {
		return nil, fmt.Errorf("%s is not a type of this module", t)
	}
	if comments, known := s.folders[folder]; known {
		return comments, nil
	}
	comments, err := readComments(filepath.Join(s.root, folder))
	s.folders[folder] = comments
	return comments, err
}

// typeName is the name of a type without what it is made for, as in Limit[int].
func typeName(t reflect.Type) string {
	name, _, _ := strings.Cut(t.Name(), "[")
	return name
}

func readComments(folder string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	comments := map[string]string{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range file.Decls {
			if types, ok := d.(*ast.GenDecl); ok {
				commentsOf(set, types, comments)
			}
		}
	}
	return comments, nil
}

func commentsOf(set *token.FileSet, d *ast.GenDecl, comments map[string]string) {
	for _, spec := range d.Specs {
		t, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		comments[t.Name.Name] = t.Doc.Text()
		if t.Doc == nil {
			comments[t.Name.Name] = d.Doc.Text()
		}
		fields, ok := t.Type.(*ast.StructType)
		if !ok {
			continue
		}
		last, lastLine := "", 0
		for _, f := range fields.Fields.List {
			line := set.Position(f.Pos()).Line
			text := f.Doc.Text()
			if text == "" {
				text = f.Comment.Text()
			}
			if text == "" && line == lastLine+1 {
				text = last // one comment stands above both, as above user and password
			}
			for _, name := range f.Names {
				comments[t.Name.Name+"."+name.Name] = text
			}
			last, lastLine = text, set.Position(f.End()).Line
		}
	}
}
