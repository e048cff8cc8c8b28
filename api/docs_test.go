package api

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The addresses in docs/API.md are those of the server, no more and no less.
func TestDocs_ListEveryRoute(t *testing.T) {
	doc, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	param := regexp.MustCompile(`[:*]([a-z]+)`)
	written := make(map[string]bool)
	for _, m := range regexp.MustCompile("`(GET|PUT|POST|PATCH|DELETE) (/[^`?]*)`").FindAllStringSubmatch(string(doc), -1) {
		written[m[1]+" "+m[2]] = true
	}
	s, _ := bareServer(t, nil)
	served := make(map[string]bool)
	for _, r := range s.engine.Routes() {
		if r.Method == "HEAD" || r.Method == "OPTIONS" || slices.Contains(pageRoutes(), r.Path) {
			continue
		}
		route := r.Method + " " + param.ReplaceAllString(r.Path, "{$1}")
		served[route] = true
		endpoint := r.Method == "GET" && strings.HasPrefix(r.Path, "/wh") && !strings.Contains(r.Path, "session")
		if !written[route] && !endpoint { // these are described by one line
			t.Errorf("docs/API.md does not tell of %s", route)
		}
	}
	for route := range written {
		if !served[route] {
			t.Errorf("docs/API.md tells of %s, which is not served", route)
		}
	}
	for _, path := range pageRoutes() {
		if page := "`" + param.ReplaceAllString(path, "{$1}") + "`"; !strings.Contains(string(doc), page) {
			t.Errorf("docs/API.md does not tell of the page %s", page)
		}
	}
}

// Every code that an answer may bear is in the table of docs/API.md.
func TestDocs_ListEveryCode(t *testing.T) {
	doc, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile(`(?:fail|failLater)\(http\.Status\w+, "([a-z_]+)"|code: "([a-z_]+)"|Code\w+ += "([a-z_]+)"`)
	files := []string{"../internal/rtc/offer.go"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
			files = append(files, e.Name())
		}
	}
	found := 0
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range code.FindAllStringSubmatch(string(src), -1) {
			found++
			if c := m[1] + m[2] + m[3]; !strings.Contains(string(doc), "`"+c+"`") {
				t.Errorf("docs/API.md does not tell of the code %s of %s", c, name)
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d codes in the sources: the pattern is wrong", found)
	}
}

// Every test that docs/SIGNALLING.md names is there, and no clause goes without.
func TestDocs_ClausesNameTestsThatExist(t *testing.T) {
	doc, err := os.ReadFile("../docs/SIGNALLING.md")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		src, err := os.ReadFile("../" + path)
		for _, m := range function.FindAllSubmatch(src, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	clauses := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if !strings.HasPrefix(line, "| ") || cells[0] == "clause" {
			continue
		}
		clauses++
		tests := strings.Fields(strings.ReplaceAll(cells[len(cells)-1], "`", ""))
		if len(cells) != 3 || len(tests) == 0 {
			t.Errorf("no clause, behaviour and test: %s", line)
		}
		for _, name := range tests {
			if !there[name] {
				t.Errorf("%s: there is no test %s", cells[0], name)
			}
		}
	}
	if clauses < 60 {
		t.Errorf("found %d clauses: the pattern is wrong", clauses)
	}
}
