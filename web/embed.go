// Package web carries the built front end inside the binary.
//
// The build (web/dist) is not kept under version control. A tree in which it
// has not been built still compiles; Files then holds one plain page that says
// how to build it.
package web

import (
	"embed"
	"io/fs"
)

// The pattern needs "all:" because dist holds nothing but .keep before a build.
//
//go:embed all:dist unbuilt
var embedded embed.FS

// Files returns the front end, rooted at the folder of index.html. Names below
// assets/ carry a hash of their content and may be cached for ever; index.html
// may not. The result is read-only and safe for concurrent use.
func Files() fs.FS {
	dir := "dist"
	if !Built() {
		dir = "unbuilt"
	}
	files, err := fs.Sub(embedded, dir)
	if err != nil {
		return embedded // only a malformed constant name gets here
	}
	return files
}

// Built reports whether the front end is part of this binary.
func Built() bool {
	_, err := fs.Stat(embedded, "dist/index.html")
	return err == nil
}
