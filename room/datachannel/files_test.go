package datachannel_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

func content(size int) ([]byte, string) {
	data := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, uint64(size)))
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:])
}

func put(id string, data []byte, digest string) fields {
	return fields{
		"type": "put", "id": id, "name": "notes.pdf", "size": len(data), "sha256": digest, "media_type": "application/pdf",
	}
}

func (c *client) chunk(transfer, offset int64, data []byte) {
	msg := binary.BigEndian.AppendUint32(nil, uint32(transfer))
	msg = binary.BigEndian.AppendUint32(msg, uint32(offset))
	c.in <- message{data: append(msg, data...)}
}

// upload sends data as go allows, up to offset end, and keeps to the window.
func (c *client) upload(g fields, id string, data []byte, end int64) {
	c.t.Helper()
	acked := g.num("offset")
	for at := acked; at < end; {
		for at+65536 > acked+g.num("window") {
			acked = c.next("ack").num("offset")
		}
		n := min(65536, end-at)
		c.chunk(g.num("transfer"), at, data[at:at+n])
		at += n
	}
}

func TestFiles_PutIsStoredAndAnnounced(t *testing.T) {
	for _, size := range []int{0, 1, 65536, 3<<20 + 17} {
		r, files := newRoom(t)
		s := session(r, wei)
		chat := dial(t, s, "chat")
		chat.send(`{"type":"hello","name":"Wei Li"}`)
		c := dial(t, s, "files")
		data, digest := content(size)
		c.send(put("c1", data, digest))
		g := c.next("go", "error")
		if g["id"] != "c1" || g.num("offset") != 0 || g.num("transfer") == 0 || g.num("window") != 1<<20 {
			t.Fatalf("got %v", g)
		}
		c.upload(g, "c1", data, int64(size))
		stored := c.next("stored", "error")
		if stored["id"] != "c1" || stored["file"] != "f1" || stored["url"] != "/api/rooms/algebra/files/f1" {
			t.Fatalf("got %v", stored)
		}
		if !bytes.Equal(files.stored["f1"].data, data) {
			t.Errorf("size %d: the stored bytes differ", size)
		}
		e := chat.next("file")
		if e["id"] != "f1" || e["by"] != "wei" || e["from"] != "Wei Li" || e.num("size") != int64(size) ||
			e.num("seq") != stored.num("seq") || e["name"] != "notes.pdf" {
			t.Errorf("got %v", e)
		}
	}
}

func TestFiles_BrokenPutIsResumed(t *testing.T) {
	r, files := newRoom(t)
	data, digest := content(900_000)
	s := session(r, wei)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	c.send(put("c1", data, digest))
	c.upload(c.next("go"), "c1", data, 600_000)
	c.next("ack")
	_ = c.Close()
	<-c.result
	again := session(r, wei)
	dial(t, again, "chat").send(`{"type":"hello"}`)
	c = dial(t, again, "files")
	c.send(put("c1", data, digest))
	g := c.next("go")
	if g.num("offset") < 262144 || g.num("offset") > 600_000 {
		t.Fatalf("got offset %d, want what was acknowledged", g.num("offset"))
	}
	c.upload(g, "c1", data, int64(len(data)))
	first := c.next("stored")
	if !bytes.Equal(files.stored["f1"].data, data) {
		t.Error("the stored bytes differ")
	}
	c.send(put("c1", data, digest)) // the answer got lost: ask again
	if f := c.next("stored", "go", "error"); f["file"] != first["file"] || f.num("seq") != first.num("seq") {
		t.Errorf("got %v, want %v", f, first)
	}
}

func TestFiles_WrongDigestLeavesNothing(t *testing.T) {
	r, files := newRoom(t)
	s := session(r, ada)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	data, _ := content(1000)
	_, other := content(1001)
	c.send(put("c1", data, other))
	c.upload(c.next("go"), "c1", data, 1000)
	if f := c.wantError("digest_mismatch"); f["id"] != "c1" {
		t.Errorf("got %v", f)
	}
	if len(files.stored)+len(files.parts) > 0 {
		t.Errorf("got %d files and %d parts", len(files.stored), len(files.parts))
	}
}

func TestFiles_BadRequestsAreAnswered(t *testing.T) {
	r, files := newRoom(t, func(c *room.Config) { c.Limits.FileBytes = 5000 })
	files.quota = 4000
	s := session(r, ada)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	_, digest := content(10)
	for _, tt := range []struct {
		msg  any
		code string
	}{
		{`{"type":"put"}`, "bad_message"},
		{`{"type":"put","id":"x"}`, "bad_message"},
		{`{"type":"put","id":"x","size":-1,"name":"a","sha256":"` + digest + `"}`, "bad_message"},
		{`{"type":"put","id":"x","size":1,"name":"a","sha256":"12"}`, "bad_message"},
		{`{"type":"put","id":"x","size":5001,"name":"a","sha256":"` + digest + `"}`, "file_too_large"},
		{`{"type":"put","id":"x","size":5000000000,"name":"a","sha256":"` + digest + `"}`, "file_too_large"},
		{`{"type":"put","id":"x","size":4500,"name":"a","sha256":"` + digest + `"}`, "quota_exceeded"},
		{`{"type":"get","id":"nothing"}`, "not_found"},
		{`{"type":"get","id":"x","offset":-1}`, "bad_message"},
		{`{"type":"get"}`, "bad_message"},
		{`x`, "bad_message"},
	} {
		c.send(tt.msg)
		f := c.next("error", "go", "stored")
		if f["code"] != tt.code {
			t.Errorf("%v: got %v, want %s", tt.msg, f, tt.code)
		}
	}
	c.in <- message{data: []byte{1, 2, 3}}
	c.wantError("bad_message")
	c.in <- message{data: make([]byte, 70000)}
	c.wantError("message_too_large")
	c.chunk(77, 0, []byte("of no transfer")) // ignored
	c.send(`{"type":"later"}`)               // ignored
	c.send(`{"type":"ack","id":"none","offset":5}`)
	c.send(`{"type":"cancel","id":"none"}`)
	data, digest := content(100)
	c.send(put("fine", data, digest))
	c.upload(c.next("go", "error"), "fine", data, 100)
	c.next("stored")
}

func TestFiles_ChunkOutOfOrderEndsThePut(t *testing.T) {
	r, _ := newRoom(t)
	s := session(r, ada)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	data, digest := content(2 << 20)
	for name, at := range map[string]int64{"a hole": 10, "before": -1} {
		c.send(put("c1", data, digest))
		g := c.next("go")
		c.chunk(g.num("transfer"), g.num("offset")+at, data[:100])
		if f := c.wantError("bad_message"); f["id"] != "c1" {
			t.Errorf("%s: got %v", name, f)
		}
	}
}

func TestFiles_SlowDiskBlocksNeitherReaderNorChat(t *testing.T) {
	r, files := newRoom(t)
	files.gate = make(chan struct{})
	s := session(r, wei)
	chat := dial(t, s, "chat")
	chat.send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	data, digest := content(3 << 20)
	c.send(put("c1", data, digest))
	g := c.next("go")
	for at := int64(0); at < 1<<20; at += 65536 { // the whole window
		c.chunk(g.num("transfer"), at, data[at:at+65536])
	}
	c.send(`{"type":"get","id":"nothing"}`) // is read although the disk stands still
	c.wantError("not_found")
	chat.send(`{"type":"say","ref":"r","text":"still here"}`)
	chat.next("ok")
	c.chunk(g.num("transfer"), 1<<20, data[1<<20:1<<20+1]) // beyond the window
	c.send(`{"type":"get","id":"nothing"}`)
	c.wantError("not_found") // so that the chunk has been read
	close(files.gate)
	c.wantError("bad_message")
}

func TestFiles_OnlySoManyTransfersAtOnce(t *testing.T) {
	r, files := newRoom(t)
	files.gate = make(chan struct{})
	defer close(files.gate)
	s := session(r, wei)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	data, digest := content(100)
	for _, id := range []string{"a", "b", "c", "d"} {
		c.send(put(id, data, digest))
		c.next("go")
	}
	c.send(put("e", data, digest))
	if f := c.wantError("busy"); f["id"] != "e" {
		t.Errorf("got %v", f)
	}
	c.send(`{"type":"cancel","id":"b"}`)
	if f := c.wantError("cancelled"); f["id"] != "b" {
		t.Errorf("got %v", f)
	}
	c.send(put("e", data, digest))
	c.next("go")
}

func TestFiles_SilentPutTimesOutAndCanBeResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRoom(t)
		c := dial(t, session(r, wei), "files") // without a chat channel
		data, digest := content(300_000)
		c.send(put("c1", data, digest))
		c.upload(c.next("go"), "c1", data, 270_000)
		c.next("ack")
		began := time.Now()
		m, err := c.pop(context.Background())
		if err != nil || !bytes.Contains(m.data, []byte(`"code":"timeout"`)) || time.Since(began) != time.Minute {
			t.Fatalf("got %s, %v after %v", m.data, err, time.Since(began))
		}
		c.send(put("c1", data, digest))
		c.upload(c.next("go"), "c1", data, 300_000)
		c.next("stored")
	})
}

// download reads a file that is sent, from offset on, acknowledging every n
// bytes; 0: never.
func (c *client) download(id string, offset, every int64) (data []byte, end fields) {
	c.t.Helper()
	c.send(fields{"type": "get", "id": id, "offset": offset})
	g := c.next("go", "error")
	if g["type"] == "error" {
		c.t.Fatalf("got %v", g)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	acked := offset
	for {
		m, err := c.pop(ctx)
		if err != nil {
			c.t.Fatalf("after %d bytes: %v", len(data), err)
		}
		if m.isText {
			if err := json.Unmarshal(m.data, &end); err != nil {
				c.t.Fatal(err)
			}
			return data, end
		}
		if at := int64(binary.BigEndian.Uint32(m.data[4:])); at != offset+int64(len(data)) ||
			int64(binary.BigEndian.Uint32(m.data)) != g.num("transfer") {
			c.t.Fatalf("chunk at %d of transfer %d", at, binary.BigEndian.Uint32(m.data))
		}
		data = append(data, m.data[8:]...)
		if have := offset + int64(len(data)); every > 0 && have-acked >= every {
			acked = have
			c.send(fields{"type": "ack", "id": id, "offset": have})
		}
	}
}

func TestFiles_GetSendsWhatWasStored(t *testing.T) {
	r, files := newRoom(t)
	data, digest := content(3<<20 + 5)
	files.stored["f1"] = storedFile{data: data, info: room.FileInfo{
		ID: "f1", Name: "n", Size: int64(len(data)), SHA256: digest,
	}}
	files.stored["f2"] = storedFile{info: room.FileInfo{ID: "f2", Name: "empty"}}
	c := dial(t, session(r, wei), "files")
	for _, offset := range []int64{0, 1_000_000, int64(len(data))} {
		got, end := c.download("f1", offset, 200_000)
		if end["type"] != "end" || !bytes.Equal(got, data[offset:]) {
			t.Errorf("from %d: got %d bytes and %v", offset, len(got), end)
		}
	}
	if got, end := c.download("f2", 0, 0); end["type"] != "end" || len(got) > 0 {
		t.Errorf("empty: got %d bytes and %v", len(got), end)
	}
}

func TestFiles_GetKeepsToTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, files := newRoom(t)
		data, _ := content(2 << 20)
		files.stored["f1"] = storedFile{data: data, info: room.FileInfo{ID: "f1", Size: int64(len(data))}}
		c := dial(t, session(r, wei), "files")
		c.send(`{"type":"get","id":"f1"}`)
		c.next("go")
		total := 0
		for { // without ever acknowledging
			m, err := c.pop(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.isText {
				if !bytes.Contains(m.data, []byte(`"code":"timeout"`)) {
					t.Errorf("got %s, want a timeout", m.data)
				}
				break
			}
			total += len(m.data) - 8
		}
		if total != 1<<20 {
			t.Errorf("got %d bytes without an ack, want the window", total)
		}
		c.send(`{"type":"get","id":"f1"}`)
		c.next("go")
		c.send(`{"type":"ack","id":"f1","offset":2000000}`) // of what was not sent
		c.wantError("bad_message")
	})
}

// An encoder only publishes; and who came into an open room without a token is
// nobody whose files are shared.
func TestFiles_NotForEncodersNorForNobody(t *testing.T) {
	r, _ := newRoom(t)
	data, digest := content(100)
	s := session(r, wei)
	dial(t, s, "chat").send(`{"type":"hello"}`)
	c := dial(t, s, "files")
	c.send(put("a", data, digest))
	c.upload(c.next("go"), "a", data, 100)
	id := c.next("stored")["file"]
	encoder := dial(t, session(r, room.Identity{ID: "key:1", Role: access.Ingest, Room: "algebra"}), "files")
	encoder.send(fields{"type": "get", "id": id})
	encoder.wantError("forbidden")
	s = session(r, room.Identity{ID: "guest-1", Role: access.Student, Room: "algebra", Anonymous: true})
	dial(t, s, "chat").send(`{"type":"hello"}`)
	nobody := dial(t, s, "files")
	nobody.send(put("b", data, digest))
	nobody.wantError("forbidden")
}
