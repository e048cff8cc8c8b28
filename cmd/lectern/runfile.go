package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// runFile lies in the data directory while the gateway runs and says where it
// listens, so that other commands and scripts find it even with port 0.
const runFile = "lectern.run.json"

// addresses is the content of the run file.
type addresses struct {
	PID    int    `json:"pid"`
	HTTP   string `json:"http"`
	HTTPS  string `json:"https,omitempty"`
	WebRTC string `json:"webrtc"`
	RTSP   string `json:"rtsp,omitempty"`
	RTMP   string `json:"rtmp,omitempty"`
}

func writeRunFile(dir string, a addresses) error {
	a.PID = os.Getpid()
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, runFile)
	if err := os.WriteFile(name+".tmp", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write run file: %w", err)
	}
	return os.Rename(name+".tmp", name)
}

func removeRunFile(dir string) error {
	err := os.Remove(filepath.Join(dir, runFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func readRunFile(dir string) (addresses, error) {
	var a addresses
	b, err := os.ReadFile(filepath.Join(dir, runFile))
	if err != nil {
		return a, fmt.Errorf("no gateway runs with data in %s: %w", dir, err)
	}
	return a, json.Unmarshal(b, &a)
}

type healthCmd struct {
	Data string `help:"Data directory of the gateway." default:"lectern-data" env:"LECTERN_DATA_DIR" type:"path"`
}

// Run asks the gateway that uses the data directory whether it is ready.
func (c healthCmd) Run(ctx context.Context, io std) error {
	a, err := readRunFile(c.Data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(a.HTTP)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("gateway answers %s", resp.Status)
	}
	_, err = fmt.Fprintln(io.out, "ready")
	return err
}
