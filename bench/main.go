// Command bench measures the gateway on this machine: what a packet to a viewer
// costs, what a viewer costs, how fast people get in, and what a poor network
// does to them. Beside it, in turns, runs the same broadcast by pion's
// PeerConnection, where the tools for that are given. It prints what it finds,
// says which bars are met, and with -write puts all that into
// docs/PERFORMANCE.md. Nothing is asserted: figures are of one machine.
//
//	GATEWAY_BIN=bin/lectern go run ./bench [-quick] [-only fanout,storm] [-rounds 3] [-tools DIR] [-write]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const adminKey = "benchmark-admin-key"

// bench is one run of measurements.
type bench struct {
	bin    string // the gateway
	dir    string // temporary
	tools  *tools // nil: not here
	rounds int
	quick  bool
	out    report
	clips  map[string]*clipFile
}

// section is one measurement.
type section struct {
	name string
	run  func(context.Context) error
}

func (b *bench) sections() []section {
	return []section{
		{"start", b.start},
		{"fanout", b.fanout},
		{"memory", b.memory},
		{"choice", b.choice},
		{"join", b.join},
		{"storm", b.storm},
		{"first", b.first},
		{"loss", b.loss},
		{"procs", b.procs},
		{"bitrate", b.bitrate},
		{"rooms", b.rooms},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := &bench{bin: os.Getenv("GATEWAY_BIN"), clips: make(map[string]*clipFile)}
	var names []string
	for _, s := range b.sections() {
		names = append(names, s.name)
	}
	only := flag.String("only", "", "measure these only, with commas: "+strings.Join(names, ", "))
	write := flag.Bool("write", false, "put the results into docs/PERFORMANCE.md")
	dir := flag.String("tools", os.Getenv("BENCH_TOOLS"), "folder of the sources of gateload and baseline")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds of each measurement; the median counts")
	flag.BoolVar(&b.quick, "quick", false, "one round, and the half of everything")
	flag.Parse()
	if b.quick {
		b.rounds = 1
	}
	if b.bin == "" {
		b.bin = "bin/lectern"
	}
	var err error
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "lectern-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	raiseLimits()
	if *dir != "" {
		if b.tools, err = buildTools(ctx, *dir, b.dir); err != nil {
			fmt.Fprintln(os.Stderr, "bench: no comparison:", err)
		}
	}
	b.out.line("%s, %d cores, %s, %s.", cpuName(), runtime.NumCPU(), runtime.Version(), time.Now().Format("2 January 2006"))
	began := time.Now()
	for _, s := range b.sections() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		if err := s.run(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.out.line("**%s was not measured: %v**", s.name, err)
		}
	}
	b.out.bars()
	fmt.Fprintf(os.Stderr, "measured in %s\n", time.Since(began).Round(time.Second))
	if *write {
		return b.out.replace("docs/PERFORMANCE.md")
	}
	return nil
}

// seconds is how long a measurement runs.
func (b *bench) seconds(full float64) time.Duration {
	if b.quick {
		full /= 2
	}
	return time.Duration(full * float64(time.Second))
}

// raiseLimits allows as many sockets as the system lets this user have, for the
// children too.
func raiseLimits() {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		fmt.Fprintln(os.Stderr, "bench: limit of open files not raised:", err)
	}
}

// cpuName is what Linux calls the processor.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for l := range strings.Lines(string(raw)) {
			if name, ok := strings.CutPrefix(l, "model name"); ok {
				return strings.TrimSpace(strings.TrimLeft(name, " \t:"))
			}
		}
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

// pause lets time pass that is itself what is measured, or that things need to
// settle.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
