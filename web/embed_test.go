package web_test

import (
	"bytes"
	"io/fs"
	"testing"

	"github.com/lectern/lectern/web"
)

func TestFiles_AlwaysHasAPage(t *testing.T) {
	page, err := fs.ReadFile(web.Files(), "index.html")
	if err != nil {
		t.Fatalf("got %v, want an index.html in a built and in an unbuilt tree", err)
	}
	if !bytes.Contains(page, []byte("<title>Lectern</title>")) {
		t.Errorf("index.html has no title: %q", page)
	}
}

func TestFiles_UnbuiltSaysWhatToDo(t *testing.T) {
	if web.Built() {
		t.Skip("the front end is built")
	}
	page, err := fs.ReadFile(web.Files(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(page, []byte("make web")) {
		t.Errorf("got %q, want the command that builds the front end", page)
	}
}
