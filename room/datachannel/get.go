package datachannel

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/lectern/lectern/room"
)

// get begins to send a file.
func (f *files) get(ctx context.Context, h head, msg []byte) error {
	var g get
	if err := decode(msg, &g); err != nil {
		return err
	}
	if h.ID == "" || len(h.ID) > maxKey || g.Offset < 0 {
		return fmt.Errorf("%w: get without id or with a bad offset", errBadMessage)
	}
	if !f.s.admitted() {
		return room.ErrForbidden
	}
	ok := f.begin(ctx, h, false, func(ctx context.Context, t *transfer) error {
		return f.send(ctx, t, g.Offset)
	})
	if !ok {
		return room.ErrBusy
	}
	return nil
}

// send sends one file from offset on.
func (f *files) send(ctx context.Context, t *transfer, offset int64) error {
	file, info, err := f.s.room.OpenFile(ctx, t.id)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // read only
	if offset > info.Size {
		return fmt.Errorf("%w: offset beyond the end", errBadMessage)
	}
	if info.Size > maxOffset {
		return room.ErrFileTooLarge
	}
	t.mu.Lock()
	t.size, t.next, t.done = info.Size, offset, offset
	t.mu.Unlock()
	if err := f.say(ctx, goMessage{
		Type: "go", ID: t.id, Transfer: t.num, Offset: offset, Window: window,
		Name: info.Name, Size: &info.Size, SHA256: info.SHA256, MediaType: info.MediaType,
	}); err != nil {
		return err
	}
	for offset < info.Size {
		n, err := f.sendChunk(ctx, t, file, offset)
		if err != nil {
			return err
		}
		offset += int64(n)
	}
	// Behind the last chunk, which texts would overtake.
	return f.queue(ctx, bulk{msg: encode(endMessage{Type: "end", ID: t.id, Transfer: t.num}), isText: true})
}

// sendChunk queues the next chunk, once the window allows for it.
func (f *files) sendChunk(ctx context.Context, t *transfer, file io.ReaderAt, offset int64) (int, error) {
	for !t.room() {
		if err := t.wait(ctx); err != nil {
			return 0, err
		}
	}
	n := int(min(sendChunk, t.size-offset))
	msg := appendChunkHeader(make([]byte, 0, headerBytes+n), t.num, offset)[:headerBytes+n]
	if got, err := file.ReadAt(msg[headerBytes:], offset); got < n {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // shorter than it was stored
		}
		return 0, fmt.Errorf("reading a shared file: %w", err)
	}
	t.mu.Lock()
	t.next = offset + int64(n)
	t.mu.Unlock()
	return n, f.queue(ctx, bulk{msg: msg})
}

// queue waits until deliver takes b.
func (f *files) queue(ctx context.Context, b bulk) error {
	select {
	case f.chunks <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// room says whether the window has room for another chunk.
func (t *transfer) room() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next+sendChunk <= t.done+window
}
