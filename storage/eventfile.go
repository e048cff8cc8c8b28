package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// maxEventLine bounds a line of events.jsonl, in bytes.
const maxEventLine = 256 << 10

// eventFile is events.jsonl of a recording.
type eventFile struct {
	mu    sync.Mutex // guards what follows
	f     *os.File
	dirty bool
}

func (e *eventFile) open(root *os.Root) (err error) {
	e.f, err = root.OpenFile(eventsFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return err
}

// append writes one line with its time on the timeline that began at begin. The
// line goes out in one call, so that a kill does not tear it.
func (e *eventFile) append(line []byte, begin time.Time, now time.Duration) error {
	b, err := timedLine(line, begin, now)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.f == nil {
		return ErrEnded
	}
	e.dirty = true
	if _, err := e.f.Write(b); err != nil {
		return fmt.Errorf("writing %s: %w", eventsFile, err)
	}
	return nil
}

// timedLine is the JSON object line without line breaks, with a member "t".
func timedLine(line []byte, begin time.Time, now time.Duration) ([]byte, error) {
	if len(line) > maxEventLine {
		return nil, fmt.Errorf("event of %d bytes, at most %d", len(line), maxEventLine)
	}
	var head struct {
		T  json.RawMessage `json:"t"`
		At json.RawMessage `json:"at"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, fmt.Errorf("parsing event: %w", err)
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, line); err != nil {
		return nil, fmt.Errorf("parsing event: %w", err)
	}
	b := buf.Bytes()
	if b[0] != '{' {
		return nil, errors.New("event is no JSON object")
	}
	if head.T != nil {
		return append(b, '\n'), nil
	}
	t := now
	if at, err := strconv.ParseFloat(string(head.At), 64); err == nil {
		t = time.UnixMilli(int64(at)).Sub(begin)
	}
	out := append([]byte(`{"t":`), strconv.AppendInt(nil, t.Milliseconds(), 10)...)
	if len(b) > 2 {
		out = append(out, ',')
	}
	return append(append(out, b[1:]...), '\n'), nil
}

func (e *eventFile) sync() error {
	e.mu.Lock()
	f, dirty := e.f, e.dirty
	e.dirty = false
	e.mu.Unlock()
	if f == nil || !dirty {
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", eventsFile, err)
	}
	return nil
}

// close syncs and closes the file. It is idempotent.
func (e *eventFile) close() error {
	e.mu.Lock()
	f := e.f
	e.f = nil
	e.mu.Unlock()
	if f == nil {
		return nil
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("closing %s: %w", eventsFile, err)
	}
	return nil
}
