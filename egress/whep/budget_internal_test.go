package whep

import (
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
)

// The goroutine that reads for all classes has half of its time for sending: with
// more to do than that, the shards do it themselves.
func TestBudget_HalfOfTheTime(t *testing.T) {
	const step, work = time.Millisecond, 900 * time.Microsecond
	now, spent, b := time.Unix(1000, 0), time.Duration(0), budget{}
	for range 1000 {
		if b.may(now) {
			b.spend(work)
			spent += work
		}
		now = now.Add(step)
	}
	if spent < 480*time.Millisecond || spent > 520*time.Millisecond {
		t.Errorf("spent %v of a second, want half", spent)
	}
	now = now.Add(time.Hour) // nothing is saved up
	spent = 0
	for b.may(now) {
		b.spend(work)
		spent += work
	}
	if spent > inlineMost+work {
		t.Errorf("spent %v in a row", spent)
	}
}

// A shard that is at work, or has more to do than what is quick, is left to its
// own goroutine.
func TestServeInline_OnlyWhatIsQuick(t *testing.T) {
	b := newRig(t)
	reader, err := b.st.NewReader(stream.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	b.sh.main.reader, b.sh.budget = reader, &budget{}
	p := b.picture(track(stream.VP8), 0, true)
	for _, tt := range []struct {
		what    string
		viewers int
		busy    bool
		left    time.Duration
		want    bool
	}{
		{"little", 1, false, 0, true},
		{"too much", inlinePackets + 1, false, 0, false},
		{"at work", 1, true, 0, false},
		{"no time left", 1, false, -time.Hour, false},
	} {
		if err := b.main.Write(p); err != nil {
			t.Fatal(err)
		}
		b.sh.viewers = nil
		for range tt.viewers {
			b.sh.viewers = append(b.sh.viewers, b.v)
		}
		*b.sh.budget = budget{left: tt.left, at: time.Now()}
		if tt.busy {
			b.sh.mu.Lock()
		}
		got := b.sh.serveInline(b.sh.main)
		if tt.busy {
			b.sh.mu.Unlock()
		}
		if got != tt.want || (reader.Len() == 0) != tt.want {
			t.Errorf("%s: got %t, %d left", tt.what, got, reader.Len())
		}
		p = b.picture(track(stream.VP8), 0, true)
	}
}
