package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// tools are the yardstick: a load generator and the same broadcast by others.
// They are programs of their own, built from the folder that is given.
type tools struct{ gateload, baseline string }

func buildTools(ctx context.Context, src, dir string) (*tools, error) {
	t := &tools{gateload: filepath.Join(dir, "gateload"), baseline: filepath.Join(dir, "baseline")}
	for name, out := range map[string]string{"gateload": t.gateload, "baseline": t.baseline} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", out, ".")
		cmd.Dir = filepath.Join(src, name)
		if msg, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", name, err, msg)
		}
	}
	return t, nil
}

// figures are those of gateload's report that are wanted.
type figures struct {
	Failed     int     `json:"viewers_failed"`
	LossPct    float64 `json:"frame_loss_percent"`
	P95        float64 `json:"latency_p95_ms"`
	Micros     float64 `json:"server_cpu_us_per_delivered_packet"`
	CPUPercent float64 `json:"server_cpu_percent_of_one_core"`
	OwnCPU     float64 `json:"loadtool_cpu_seconds"`
	Seconds    float64 `json:"seconds"`
	RSS        float64 `json:"server_rss_mib"`
	Connect    float64 `json:"connect_seconds"`
	ConnectCPU float64 `json:"connect_server_cpu_seconds"`
}

// load has n viewers of room for so long.
func (t *tools) load(ctx context.Context, whip, whep, bearer string, pid, n int, d time.Duration) (figures, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := []string{"--whip", whip, "--whep", whep, "--viewers", strconv.Itoa(n), "--duration", d.String(), "--warmup", "1s", "--pid", strconv.Itoa(pid)}
	if bearer != "" {
		args = append(args, "--bearer", bearer)
	}
	cmd := exec.CommandContext(ctx, t.gateload, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var f figures
	if err != nil {
		return f, fmt.Errorf("gateload: %w: %s", err, tailOf(errs.Bytes(), 300))
	}
	return f, json.Unmarshal(out, &f)
}

func tailOf(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// plain is pion's PeerConnection as it comes.
type plain struct {
	cmd  *exec.Cmd
	http string
}

func (t *tools) plain() (*plain, error) {
	web, err := freePort()
	if err != nil {
		return nil, err
	}
	udp, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &plain{http: fmt.Sprintf("127.0.0.1:%d", web)}
	p.cmd = exec.Command(t.baseline, "-mode", "plain", "-http", p.http, "-udp", strconv.Itoa(udp))
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	time.Sleep(500 * time.Millisecond)
	return p, nil
}

func (p *plain) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait() // it was killed
}
