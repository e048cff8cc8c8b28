// Package arch keeps the floors of the house apart: it reads the source files
// and fails when a package imports a floor that is not below its own, when an
// outside library is imported by a package that does not own it, or when a
// package is unknown. docs/ARCHITECTURE.md draws the floors.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/lectern/lectern"

// floors of every package; imports go down only.
func floors() map[string]int {
	return map[string]int{
		"internal/sender": -1, // what every floor counts by
		"stream":          0, "config": 0, "web": 0, "internal/rtc": 0, "internal/rtmp": 0, "internal/peer": 0,
		"internal/turn": 0, "internal/certs": 0, "internal/netsim": 0,
		"stream/frame": 1, "room/access": 1, "egress": 1, "egress/whep/bandwidth": 1,
		"ingest": 2, "room": 2, "storage": 2, "internal/clip": 2,
		"ingest/whip": 3, "egress/whep": 3, "egress/transcode": 3, "room/datachannel": 3, "storage/playback": 3,
		"egress/rtmp": 4, "egress/rtsp": 4,
		"api":         5,
		"cmd/lectern": 6,
		"test":        7, "bench": 7, "internal/arch": 7,
	}
}

// owners of the outside libraries that one package hides from the rest. Tests
// may use them as foreign peers.
func owners() map[string][]string {
	return map[string][]string{
		"github.com/gin-gonic/gin":            {"api"},
		"github.com/yutopp/go-rtmp":           {"internal/rtmp"},
		"github.com/bluenviron/gortsplib":     {"egress/rtsp"},
		"github.com/golang-jwt/jwt":           {"room/access"},
		"github.com/knadh/koanf":              {"config"},
		"github.com/alecthomas/kong":          {"cmd/lectern"},
		"modernc.org/sqlite":                  {"storage"},
		"database/sql":                        {"storage"},
		"github.com/pressly/goose":            {"storage"},
		"github.com/pion/ice":                 {"internal/rtc"},
		"github.com/pion/dtls":                {"internal/rtc"},
		"github.com/pion/srtp":                {"internal/rtc"},
		"github.com/pion/sctp":                {"internal/rtc"},
		"github.com/pion/datachannel":         {"internal/rtc"},
		"github.com/pion/sdp":                 {"internal/rtc"},
		"github.com/pion/turn":                {"internal/turn"},
		"github.com/MicahParks/keyfunc":       {"room/access"},
		"golang.org/x/crypto/acme":            {"internal/certs"},
		"github.com/pion/webrtc":              {"storage", "internal/peer", "bench"}, // of the product: ivfwriter and oggwriter only
		"github.com/prometheus/client_golang": {"api"},
	}
}

func TestImports_GoDownOnly(t *testing.T) {
	eachFile(t, func(pkg, file string, imports []string) {
		floor, ok := floors()[pkg]
		if !ok {
			t.Errorf("%s: package %s stands on no floor; add it to floors", file, pkg)
			return
		}
		test := strings.HasSuffix(file, "_test.go")
		for _, imp := range imports {
			other, ours := strings.CutPrefix(imp, module+"/")
			if !ours || (test && other == pkg) {
				continue
			}
			f, known := floors()[other]
			if !known {
				t.Errorf("%s: imports %s, which stands on no floor", file, other)
			} else if f >= floor {
				t.Errorf("%s: %s (floor %d) imports %s (floor %d)", file, pkg, floor, other, f)
			}
		}
	})
}

func TestLibraries_HaveOneOwner(t *testing.T) {
	eachFile(t, func(pkg, file string, imports []string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, imp := range imports {
			for lib, own := range owners() {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(own, pkg) {
					t.Errorf("%s: %s imports %s, which belongs to %v", file, pkg, imp, own)
				}
			}
		}
	})
}

// eachFile parses the imports of every Go file of the module.
func eachFile(t *testing.T, do func(pkg, file string, imports []string)) {
	t.Helper()
	root := moduleRoot(t)
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(name) != ".go" || filepath.Dir(path) == root {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var imports []string
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		files++
		do(filepath.ToSlash(filepath.Dir(rel)), rel, imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 10 {
		t.Fatalf("saw %d files only; is %s the module?", files, root)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatal("no go.mod above the test")
	return ""
}
