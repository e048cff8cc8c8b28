package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// gateway is the binary under measurement, with a folder of its own.
type gateway struct {
	cmd   *exec.Cmd
	bin   string
	data  string
	addr  struct{ HTTP, WebRTC, RTSP, RTMP string }
	token string // of a teacher of all rooms
}

// newGateway starts a gateway as it comes, recording included, with more
// variables of the environment.
func (b *bench) newGateway(env ...string) (*gateway, error) {
	data, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, err
	}
	g := &gateway{bin: b.bin, data: data}
	const anyPort = "127.0.0.1:0"
	g.cmd = exec.Command(b.bin, "serve", "--data", data, "--http", anyPort, "--webrtc", anyPort, "--rtsp", anyPort, "--rtmp", anyPort)
	g.cmd.Env = append(append(os.Environ(), "LECTERN_ADMIN_KEY="+adminKey, "LECTERN_RTSP_UDP_PORT=0", "LECTERN_LOG_LEVEL=error", "LECTERN_TURN_ENABLED=false"), env...)
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	if err := g.ready(); err != nil {
		g.stop()
		return nil, err
	}
	out, err := exec.Command(b.bin, "token", "--data", data, "--room", "*", "--role", "teacher").Output()
	if err != nil {
		g.stop()
		return nil, fmt.Errorf("make a token: %w", err)
	}
	g.token = strings.TrimSpace(string(out))
	return g, nil
}

func (g *gateway) ready() error {
	for range 200 {
		raw, err := os.ReadFile(filepath.Join(g.data, "lectern.run.json"))
		if err == nil && json.Unmarshal(raw, &g.addr) == nil {
			if resp, err := http.Get("http://" + g.addr.HTTP + "/readyz"); err == nil {
				_ = resp.Body.Close()
				return nil
			}
		}
		time.Sleep(25 * time.Millisecond)
	}
	return fmt.Errorf("the gateway did not start")
}

func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	_ = g.cmd.Wait() // how it ends is not measured
	_ = os.RemoveAll(g.data)
}

func (g *gateway) whip(room string) string { return "http://" + g.addr.HTTP + "/whip/" + room }
func (g *gateway) whep(room string) string { return "http://" + g.addr.HTTP + "/whep/" + room }

func (g *gateway) media() netip.AddrPort {
	a, _ := netip.ParseAddrPort(g.addr.WebRTC) // zero reaches nobody, and so fails where it is used
	return a
}

// cpu is the processor time of a process so far, user and system. The kernel
// counts it per thread in nanoseconds; threads that have ended are not in it,
// and Go's do not end.
func cpu(pid int) (time.Duration, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		return 0, fmt.Errorf("no figures of process %d", pid)
	}
	var all time.Duration
	for _, t := range tasks {
		raw, err := os.ReadFile(t)
		if err != nil {
			continue // it ended this moment
		}
		ns, _, _ := strings.Cut(string(raw), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", t, err)
		}
		all += time.Duration(n)
	}
	return all, nil
}

// rss is the resident memory of a process, bytes.
func rss(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	parts := strings.Fields(string(raw))
	if len(parts) < 2 {
		return 0, fmt.Errorf("no memory of process %d", pid)
	}
	pages, err := strconv.ParseFloat(parts[1], 64)
	return pages * float64(os.Getpagesize()), err
}

// freePort is one that was free a moment ago.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	a, _ := l.Addr().(*net.TCPAddr)
	return a.Port, nil
}

// start measures the time from exec to the open HTTP port.
func (b *bench) start(ctx context.Context) error {
	rounds := 9
	if b.quick {
		rounds = 3
	}
	data := filepath.Join(b.dir, "start")
	var all []float64
	var memory float64
	for i := range rounds + 1 {
		took, base, err := b.startOnce(ctx, data)
		if err != nil {
			return err
		}
		if i == 0 {
			b.out.title("Start")
			b.out.line("From exec to the open HTTP port: %.0f ms with an empty data folder,", ms(took))
			continue
		}
		all, memory = append(all, ms(took)), base
	}
	b.out.line("then %.0f ms (%.0f to %.0f, %d rounds). Idle it holds %.0f MiB.", median(all), quantile(all, 0), quantile(all, 1), rounds, mib(memory))
	b.out.bar("start to port open", median(all), 50, " ms")
	b.out.bar("memory, idle", mib(memory), 40, " MiB")
	return nil
}

func (b *bench) startOnce(ctx context.Context, data string) (took time.Duration, memory float64, err error) {
	port, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	cmd := exec.CommandContext(ctx, b.bin, "serve", "--data", data, "--http", addr, "--webrtc", "127.0.0.1:0", "--rtsp", "127.0.0.1:0", "--rtmp", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "LECTERN_ADMIN_KEY="+adminKey, "LECTERN_RTSP_UDP_PORT=0", "LECTERN_LOG_LEVEL=error", "LECTERN_TURN_ENABLED=false")
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // how it ends is not measured
	}()
	for time.Since(began) < 10*time.Second && ctx.Err() == nil {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			time.Sleep(500 * time.Microsecond)
			continue
		}
		took = time.Since(began)
		_ = c.Close()
		pause(ctx, 500*time.Millisecond)
		memory, err = rss(cmd.Process.Pid)
		return took, memory, err
	}
	return 0, 0, fmt.Errorf("the port did not open")
}
