package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// browser is a real browser driven by test/browser/driver.mjs.
type browser struct {
	t     *testing.T
	name  string
	stdin io.WriteCloser

	mu      sync.Mutex // guards what follows
	next    int
	waiting map[int]chan answer
	gone    bool
}

type answer struct {
	ID    int             `json:"id"`
	OK    bool            `json:"ok"`
	Value json.RawMessage `json:"value"`
	Error string          `json:"error"`
}

// openBrowser starts "chromium" or "firefox" and ends it with the test.
func openBrowser(t *testing.T, name string) *browser {
	t.Helper()
	return runBrowser(t, name, exec.Command("node", "browser/driver.mjs", name))
}

// runBrowser is openBrowser with another command that runs the driver.
func runBrowser(t *testing.T, name string, cmd *exec.Cmd) *browser {
	t.Helper()
	stdin := must[io.WriteCloser](t)(cmd.StdinPipe())
	stdout := must[io.ReadCloser](t)(cmd.StdoutPipe())
	cmd.Stderr = &logBuffer{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, name: name, stdin: stdin, waiting: map[int]chan answer{0: make(chan answer, 1)}}
	read := make(chan struct{})
	go func() { defer close(read); b.read(stdout) }() // ended by the end of the process
	t.Cleanup(func() {
		_ = stdin.Close()
		kill := time.AfterFunc(15*time.Second, func() { _ = cmd.Process.Kill() })
		<-read
		_ = cmd.Wait()
		kill.Stop()
	})
	b.mu.Lock()
	started := b.waiting[0]
	b.mu.Unlock()
	select {
	case a := <-started:
		if !a.OK {
			t.Fatalf("%s did not start: %s: %s", name, a.Error, cmd.Stderr)
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("%s did not start: %s", name, cmd.Stderr)
	}
	return b
}

func (b *browser) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var a answer
		if json.Unmarshal(sc.Bytes(), &a) != nil {
			continue
		}
		b.mu.Lock()
		if ch := b.waiting[a.ID]; ch != nil {
			delete(b.waiting, a.ID)
			ch <- a
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	for id, ch := range b.waiting {
		ch <- answer{ID: id, Error: "the browser is gone"}
	}
	clear(b.waiting)
}

func (b *browser) do(cmd map[string]any, out any) error {
	ch := make(chan answer, 1)
	b.mu.Lock()
	if b.gone {
		b.mu.Unlock()
		return fmt.Errorf("%s is gone", b.name)
	}
	b.next++
	cmd["id"] = b.next
	b.waiting[b.next] = ch
	line, err := json.Marshal(cmd)
	if err == nil {
		_, err = b.stdin.Write(append(line, '\n'))
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-ch:
		if !a.OK {
			return fmt.Errorf("%s: %v: %s", b.name, cmd["op"], a.Error)
		}
		if out != nil {
			return json.Unmarshal(a.Value, out)
		}
		return nil
	case <-time.After(90 * time.Second):
		return fmt.Errorf("%s: %v: no answer in 90 s", b.name, cmd["op"])
	}
}

// page is one tab.
type page struct {
	b  *browser
	id int
}

func (b *browser) open(url string) *page {
	b.t.Helper()
	p := &page{b: b}
	if err := b.do(map[string]any{"op": "open", "url": url}, &p.id); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (p *page) do(op string, more map[string]any, out any) {
	p.b.t.Helper()
	if err := p.try(op, more, out); err != nil {
		p.b.t.Fatalf("%v\nconsole: %v", err, p.console())
	}
}

func (p *page) try(op string, more map[string]any, out any) error {
	cmd := map[string]any{"op": op, "page": p.id}
	for k, v := range more {
		cmd[k] = v
	}
	return p.b.do(cmd, out)
}

// eval runs the body of an async function of arg and decodes what it returns.
func (p *page) eval(script string, arg, out any) {
	p.b.t.Helper()
	p.do("eval", map[string]any{"script": script, "arg": arg}, out)
}

func (p *page) tryEval(script string, arg, out any) error {
	return p.try("eval", map[string]any{"script": script, "arg": arg}, out)
}

func (p *page) click(selector string) {
	p.b.t.Helper()
	p.do("click", map[string]any{"selector": selector}, nil)
}

func (p *page) fill(selector, text string) {
	p.b.t.Helper()
	p.do("fill", map[string]any{"selector": selector, "text": text}, nil)
}

func (p *page) press(key string) {
	p.b.t.Helper()
	p.do("press", map[string]any{"key": key}, nil)
}

func (p *page) wait(selector string) {
	p.b.t.Helper()
	p.do("wait", map[string]any{"selector": selector}, nil)
}

func (p *page) text(selector string) string {
	var s string
	if err := p.try("text", map[string]any{"selector": selector}, &s); err != nil {
		return ""
	}
	return s
}

func (p *page) shot(file string) { _ = p.try("shot", map[string]any{"file": file}, nil) }

func (p *page) console() []string {
	var lines []string
	_ = p.try("logs", nil, &lines)
	return lines
}

func (p *page) close() { _ = p.try("close", nil, nil) }
