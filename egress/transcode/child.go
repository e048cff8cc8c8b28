package transcode

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/lectern/lectern/stream"
)

const (
	// stuck is how long the child may refuse input before it is killed.
	stuck = 10 * time.Second
	// drain is how long a child may take to write out what it has.
	drain = 2 * time.Second
	// maxStderr is how much of what the child complains about is kept (bytes).
	maxStderr = 4096

	videoFD = 3 // of the child, for FLV with video; audio goes to 1
)

// child is one encoder process: Matroska in, FLV out, one pipe for each kind so
// that neither waits for the other (a microphone may pause).
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stderr *tail
	outs   []*os.File     // our ends of the output pipes
	wg     sync.WaitGroup // the readers of outs

	done    chan struct{} // closed when the process is gone and its output read
	waitErr error         // valid after done

	mu     sync.Mutex // guards what follows
	outErr error      // of the readers
	told   bool       // to end
	gone   bool       // waited for: the pid may belong to another by now
}

// childArgs are the arguments for ffmpeg. The picture is scaled to width times
// height, whatever the source does later.
func (pool *Pool) childArgs(p plan, width, height int) []string {
	args := []string{
		"-hide_banner", "-nostdin", "-loglevel", "warning", "-nostats",
		// Not "-fflags nobuffer": it throws away what was read for the analysis,
		// which is the first keyframe.
		"-probesize", "32", "-analyzeduration", "0",
		// Frame threads and look-ahead would each hold pictures back.
		"-threads", "1", "-flags", "low_delay", "-f", "matroska", "-i", "pipe:0",
	}
	out := func(fd int) []string {
		return []string{
			"-copyts", "-avoid_negative_ts", "disabled", "-flush_packets", "1",
			"-flvflags", "no_duration_filesize+no_sequence_end+no_metadata", "-f", "flv", "pipe:" + strconv.Itoa(fd),
		}
	}
	if p.encodes(stream.Audio) {
		args = append(args, "-map", "0:a",
			// Small drift is stretched away, a gap is filled with silence.
			"-af", "aresample=async=200:min_comp=0.01:min_hard_comp=0.1",
			"-c:a", "aac", "-b:a", "128k", "-ar", strconv.Itoa(audioRate), "-ac", "2")
		args = append(args, out(1)...)
	}
	if p.encodes(stream.Video) {
		size := fmt.Sprintf("%d:%d", width, height)
		args = append(args, "-map", "0:v",
			"-vf", "scale="+size+":force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bilinear,"+
				"pad="+size+":-1:-1,setsar=1,format=yuv420p",
			"-c:v", "libx264", "-preset", pool.cfg.Preset, "-tune", "zerolatency", "-profile:v", "main", "-bf", "0",
			"-crf", "23", "-maxrate", maxRate(width, height), "-bufsize", maxRate(width, height), "-threads", "2",
			// The source is asked for a keyframe every few seconds and when a
			// player joins; -g is for sources that do not obey.
			"-force_key_frames", "source", "-g", "120", pool.fpsMode, "passthrough")
		args = append(args, out(videoFD)...)
	}
	return args
}

// maxRate is the bound of the bit rate for a picture size, as ffmpeg reads it.
func maxRate(width, height int) string {
	switch px := width * height; {
	case px <= 640*360:
		return "1200k"
	case px <= 1280*720:
		return "3500k"
	default:
		return "6000k"
	}
}

// startChild starts ffmpeg. Each output is read by a goroutine of its own with
// read, until it returns. The caller must call end.
func startChild(path string, args []string, read map[int]func(io.Reader) error) (*child, error) {
	c := &child{stderr: &tail{max: maxStderr}, done: make(chan struct{})}
	c.cmd = exec.Command(path, args...)
	c.cmd.Stderr = c.stderr
	c.cmd.WaitDelay = time.Second
	c.cmd.SysProcAttr = childAttributes()

	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the child has its own
		}
	}()
	in, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening pipe to encoder: %w", err)
	}
	c.cmd.Stdin, c.stdin = in, stdin
	theirs = append(theirs, in)
	readers := make([]func(io.Reader) error, 0, len(read))
	for _, fd := range []int{1, videoFD} {
		if read[fd] == nil {
			continue
		}
		ours, out, err := os.Pipe()
		if err != nil {
			c.closePipes()
			return nil, fmt.Errorf("opening pipe from encoder: %w", err)
		}
		theirs = append(theirs, out)
		c.outs = append(c.outs, ours)
		readers = append(readers, read[fd])
		if fd == 1 {
			c.cmd.Stdout = out
		} else {
			c.cmd.ExtraFiles = []*os.File{out}
		}
	}
	if err := c.start(); err != nil {
		c.closePipes()
		return nil, fmt.Errorf("starting encoder: %w", err)
	}
	for i, f := range readers {
		c.wg.Go(func() { c.read(c.outs[i], f) }) // ended by the end of the pipe
	}
	return c, nil
}

// start starts the process and the goroutine that waits for it. Pdeathsig is
// tied to the thread that forked, so that thread is kept as long as the child.
func (c *child) start() error {
	started := make(chan error, 1)
	go func() { // ended by the process; end waits for it
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = c.cmd.Wait()
		c.mu.Lock()
		c.gone = true
		c.mu.Unlock()
		c.wg.Wait()
		c.mu.Lock()
		told, outErr := c.told, c.outErr
		c.mu.Unlock()
		if !told {
			c.waitErr = fmt.Errorf("encoder ended: %w; it said: %s", errors.Join(err, outErr), c.stderr)
		}
		c.closePipes()
		close(c.done)
	}()
	return <-started
}

// read runs f on one output. When f gives up, the child must go too.
func (c *child) read(out *os.File, f func(io.Reader) error) {
	err := f(out)
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	c.mu.Lock()
	c.outErr = errors.Join(c.outErr, err)
	c.mu.Unlock()
	c.kill()
	_, _ = io.Copy(io.Discard, out) // let it end
}

// Write gives the child input. It blocks for at most the time stuck.
func (c *child) Write(p []byte) (int, error) {
	if err := c.stdin.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		return 0, err
	}
	return c.stdin.Write(p)
}

// finish ends the input, lets the child write out what it has, and waits.
func (c *child) finish() {
	c.mu.Lock()
	c.told = true
	c.mu.Unlock()
	_ = c.stdin.Close() // a second time if the process has gone: no matter
	select {
	case <-c.done:
	case <-time.After(drain):
		c.kill()
		<-c.done
	}
}

// end kills the child and waits.
func (c *child) end() {
	c.mu.Lock()
	c.told = true
	c.mu.Unlock()
	c.kill()
	<-c.done
}

// kill ends the process and all of its group.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // may end at this moment
	}
}

func (c *child) closePipes() {
	_ = c.stdin.Close()
	for _, f := range c.outs {
		_ = f.Close() // read only
	}
}

// tail keeps the last bytes that were written to it.
type tail struct {
	mu  sync.Mutex // guards what follows
	buf []byte
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
