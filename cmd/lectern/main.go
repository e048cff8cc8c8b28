// Command lectern is the gateway: teachers go live from a browser, students
// watch and talk, the class is recorded, and legacy players see it too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// exit codes.
const (
	exitOK = iota
	exitError
	exitUsage
)

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the gateway."`
	Token   tokenCmd   `cmd:"" help:"Print a signed token for a room."`
	Health  healthCmd  `cmd:"" help:"Ask a running gateway whether it is ready; exit 0 if so."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// std is where a command writes.
type std struct {
	out, err io.Writer
	environ  []string
}

// gcPercent lets the heap grow by half between two collections, not to its double:
// a viewer holds a third less memory, and little is allocated per packet, so that
// collections are rare either way. GOGC overrides it.
const gcPercent = 50

func main() {
	calmTimers()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once; the next start recovers.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], std{out: os.Stdout, err: os.Stderr, environ: os.Environ()})
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, io std) int {
	ownerOnly()
	var c commands
	parser, err := kong.New(&c,
		kong.Name("lectern"),
		kong.Description("A recording and broadcast gateway for classes."),
		kong.Writers(io.out, io.err),
		kong.UsageOnError(),
	)
	if err != nil {
		fmt.Fprintln(io.err, "lectern:", err)
		return exitError
	}
	cmd, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintln(io.err, "lectern:", err)
		return exitUsage
	}
	cmd.BindTo(ctx, (*context.Context)(nil))
	if err := cmd.Run(io); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(io.err, "lectern:", err)
		return exitError
	}
	return exitOK
}

type versionCmd struct{}

// Run prints the version of the program and of Go.
func (versionCmd) Run(io std) error {
	goVersion := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	_, err := fmt.Fprintf(io.out, "lectern %s (%s)\n", version, goVersion)
	return err
}
