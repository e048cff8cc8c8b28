package datachannel

import (
	"context"
	"fmt"

	"github.com/lectern/lectern/room"
)

// put begins to take a file.
func (f *files) put(ctx context.Context, h head, msg []byte) error {
	var p put
	if err := decode(msg, &p); err != nil {
		return err
	}
	if h.ID == "" || len(h.ID) > maxKey || p.Size == nil {
		return fmt.Errorf("%w: put without id or size", errBadMessage)
	}
	if *p.Size > maxOffset {
		return room.ErrFileTooLarge
	}
	ok := f.begin(ctx, h, true, func(ctx context.Context, t *transfer) error {
		return f.receive(ctx, t, room.FileHead{
			ClientID: h.ID, Name: p.Name, Size: *p.Size, SHA256: p.SHA256, MediaType: p.MediaType,
		})
	})
	if !ok {
		return room.ErrBusy
	}
	return nil
}

// chunk queues the data of an upload. A client that keeps the rules never fills
// more than the window, so that the reader need not wait.
func (f *files) chunk(msg []byte) error {
	num, offset, data, err := decodeChunk(msg)
	if err != nil {
		return f.fail(head{}, err)
	}
	f.mu.Lock()
	t := f.open[num]
	f.mu.Unlock()
	if t == nil || !t.in {
		return nil // of a transfer that has ended, still under way when it did
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	end := offset + int64(len(data))
	if !t.began || offset != t.next || end > t.size || end > t.done+window {
		t.cancel(fmt.Errorf("%w: chunk at %d, want %d", errBadMessage, offset, t.next))
		return nil
	}
	t.buf = append(t.buf, data...)
	t.next = end
	t.wake()
	return nil
}

// receive takes one file, tells the room, and tells the client.
func (f *files) receive(ctx context.Context, t *transfer, head room.FileHead) error {
	who := f.s.identity(ctx)
	up, err := f.s.room.BeginUpload(ctx, who, head)
	if err != nil {
		return err
	}
	defer func() {
		if err := up.Close(); err != nil { // what has come stays, for a resumption
			f.s.log.Warn("upload not closed", "err", err)
		}
	}()
	info, stored := up.Stored()
	if !stored {
		if err := f.fill(ctx, t, up, head.Size); err != nil {
			return err
		}
		// The file is whole: it is stored even if the client goes now.
		ctx = context.WithoutCancel(ctx)
		if info, err = up.Commit(ctx); err != nil {
			return fmt.Errorf("storing an upload: %w", err)
		}
	}
	seq, err := f.s.room.ShareFile(ctx, who, info)
	if err != nil {
		return fmt.Errorf("announcing an upload: %w", err)
	}
	return f.note(encode(storedMessage{
		Type: "stored", ID: t.id, File: info.ID, URL: f.s.room.FileURL(info.ID), Seq: seq,
	}))
}

// fill says go and writes what comes until the file is whole.
func (f *files) fill(ctx context.Context, t *transfer, up room.Upload, size int64) error {
	offset := up.Offset()
	t.mu.Lock()
	t.began, t.size, t.next, t.done = true, size, offset, offset
	t.mu.Unlock()
	if err := f.say(ctx, goMessage{
		Type: "go", ID: t.id, Transfer: t.num, Offset: offset, Window: window,
	}); err != nil {
		return err
	}
	told := offset
	var spare []byte
	for offset < size {
		data := t.take(spare)
		if len(data) == 0 {
			if err := t.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err := up.Append(offset, data); err != nil {
			return fmt.Errorf("writing an upload: %w", err)
		}
		offset += int64(len(data))
		spare = data
		t.mu.Lock()
		t.done = offset
		t.mu.Unlock()
		if offset-told >= ackEvery || offset == size {
			told = offset
			if err := f.say(ctx, ackMessage{Type: "ack", ID: t.id, Offset: offset}); err != nil {
				return err
			}
		}
	}
	return nil
}

// take returns what has come, if anything, and gives the transfer spare to be
// filled next.
func (t *transfer) take(spare []byte) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buf) == 0 {
		return nil // and spare stays with the caller
	}
	data := t.buf
	t.buf = spare[:0]
	return data
}
