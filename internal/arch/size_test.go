package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The size of what one reads at a time. Tables may be longer.
const (
	maxFileLines = 400
	maxFuncLines = 60

	maxTestFuncLines = 100 // a table and the loop over it
)

func TestFilesAndFunctions_StaySmall(t *testing.T) {
	root := moduleRoot(t)
	eachFile(t, func(_, file string, _ []string) {
		path := filepath.Join(root, file)
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), "\n"); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d", file, n, maxFileLines)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		most := maxFuncLines
		if strings.HasSuffix(file, "_test.go") {
			most = maxTestFuncLines
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > most {
				t.Errorf("%s: %s has %d lines, more than %d", file, fn.Name.Name, n, most)
			}
		}
	})
}
