package datachannel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

var (
	errStalled   = errors.New("datachannel: transfer stalls")
	errCancelled = errors.New("datachannel: transfer cancelled")
	errFlood     = errors.New("datachannel: client does not read the answers to its errors")
)

const (
	chunkQueue = 2  // chunks that wait for a slow client; whoever sends more, waits
	noteQueue  = 64 // texts that wait; a client that lets more wait is cut off

	ackEvery = window / 4 // bytes
)

// files serves one files channel. serveFiles reads and never waits for the disk:
// the receive window is shared with the chat of the same peer. Each transfer is
// a goroutine; deliver writes.
type files struct {
	s      *Session
	link   link
	notes  chan []byte // text messages
	chunks chan bulk   // the data of downloads
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	open    map[uint32]*transfer
	lastNum uint32
}

// bulk is a message that keeps its place among the chunks of a transfer.
type bulk struct {
	msg    []byte
	isText bool
}

// transfer is one file on its way, in or out.
type transfer struct {
	num    uint32
	id     string // as the client calls it
	in     bool   // put; else get
	cancel context.CancelCauseFunc
	notify chan struct{} // capacity 1: buf or acked has changed

	mu    sync.Mutex // guards what follows
	began bool       // put: go was said
	size  int64      // bytes, of the file
	next  int64      // put: offset of the next chunk to come
	done  int64      // put: bytes written; get: bytes that the client has
	buf   []byte     // put: came and is not yet taken; at most window
}

func (s *Session) serveFiles(ctx context.Context, l link) error {
	f := &files{
		s: s, link: l,
		notes:  make(chan []byte, noteQueue),
		chunks: make(chan bulk, chunkQueue),
		open:   make(map[uint32]*transfer),
	}
	f.wg.Go(func() { l.cancel(f.deliver(ctx)) }) // ends with ctx
	err := f.read(ctx)
	l.cancel(err) // the first cause stays
	f.wg.Wait()
	return context.Cause(ctx)
}

func (f *files) read(ctx context.Context) error {
	buf := make([]byte, headerBytes+maxChunk)
	for {
		msg, isText, tooLarge, err := f.link.read(ctx, buf)
		switch {
		case err != nil:
			return err
		case tooLarge:
			err = f.note(refusal(codeTooLarge, "a chunk has at most 65536 bytes of data"))
		case isText:
			err = f.handle(ctx, msg)
		default:
			err = f.chunk(msg)
		}
		if err != nil {
			return err
		}
	}
}

// handle does what one text message asks for. An error ends the channel.
func (f *files) handle(ctx context.Context, msg []byte) error {
	if len(msg) > maxMessage {
		return f.note(refusal(codeTooLarge, "a message has at most 16384 bytes"))
	}
	h, err := decodeHead(msg)
	if err == nil {
		switch h.Type {
		case "put":
			err = f.put(ctx, h, msg)
		case "get":
			err = f.get(ctx, h, msg)
		case "ack":
			err = f.acked(h, msg)
		case "cancel":
			f.cancelled(h.ID)
		}
	}
	if err != nil {
		return f.fail(h, err)
	}
	return nil
}

// fail answers a message that went wrong.
func (f *files) fail(h head, err error) error {
	m, known := failure(err)
	if !known {
		f.s.log.Error("transfer failed", "err", err)
	}
	m.ID, m.Ref = cut(h.ID), h.Ref
	return f.note(encode(m))
}

// cut bounds an id that is sent back.
func cut(id string) string { return id[:min(len(id), maxKey)] }

// note queues a text message without waiting.
func (f *files) note(msg []byte) error {
	select {
	case f.notes <- msg:
		return nil
	default:
		return errFlood
	}
}

// begin enters a transfer and runs it on a goroutine of its own.
func (f *files) begin(ctx context.Context, h head, in bool, run func(context.Context, *transfer) error) bool {
	channel := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	t := &transfer{id: h.ID, in: in, cancel: cancel, notify: make(chan struct{}, 1)}
	f.mu.Lock()
	for _, other := range f.open {
		if other.id == t.id && other.in == in {
			other.cancel(errCancelled) // the same once more: the newer one counts
		}
	}
	if len(f.open) >= maxTransfer {
		f.mu.Unlock()
		cancel(nil)
		return false
	}
	f.lastNum++
	t.num = f.lastNum
	f.open[t.num] = t
	f.mu.Unlock()
	f.wg.Go(func() { // ends with ctx
		defer cancel(nil)
		err := run(ctx, t)
		f.mu.Lock()
		delete(f.open, t.num)
		f.mu.Unlock()
		if err != nil && channel.Err() == nil {
			f.report(h, err)
		}
	})
	return true
}

// report tells that a transfer went wrong.
func (f *files) report(h head, why error) {
	f.s.log.Debug("transfer ended", "err", why)
	if err := f.fail(h, why); err != nil {
		f.link.cancel(err)
	}
}

// find returns the open transfer that the client calls id.
func (f *files) find(id string, in bool) *transfer {
	f.mu.Lock()
	defer f.mu.Unlock()
	var newest *transfer
	for _, t := range f.open {
		if t.id == id && t.in == in && (newest == nil || t.num > newest.num) {
			newest = t
		}
	}
	return newest
}

func (f *files) cancelled(id string) {
	for _, in := range []bool{true, false} {
		if t := f.find(id, in); t != nil {
			t.cancel(errCancelled)
		}
	}
}

// say queues a text message of a transfer.
func (f *files) say(ctx context.Context, v any) error {
	select {
	case f.notes <- encode(v):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deliver writes texts, and chunks when there are none.
func (f *files) deliver(ctx context.Context) error {
	for {
		var msg []byte
		isText := true
		select {
		case msg = <-f.notes:
		default:
			select {
			case msg = <-f.notes:
			case b := <-f.chunks:
				msg, isText = b.msg, b.isText
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if err := f.link.write(ctx, msg, isText); err != nil {
			return err
		}
	}
}

// wake tells the goroutine of the transfer that something has changed.
func (t *transfer) wake() {
	select {
	case t.notify <- struct{}{}:
	default:
	}
}

// wait waits for wake, for as long as a peer may be silent.
func (t *transfer) wait(ctx context.Context) error {
	timer := time.NewTimer(stallWait)
	defer timer.Stop()
	select {
	case <-t.notify:
		return nil
	case <-timer.C:
		return errStalled
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// acked notes how much of a file the client has.
func (f *files) acked(h head, msg []byte) error {
	var a ack
	if err := decode(msg, &a); err != nil {
		return err
	}
	t := f.find(h.ID, false)
	if t == nil {
		return nil // of a transfer that has ended
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.Offset < t.done || a.Offset > t.next {
		return fmt.Errorf("%w: ack of what was not sent", errBadMessage)
	}
	t.done = a.Offset
	t.wake()
	return nil
}
