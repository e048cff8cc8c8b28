package ingest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

func TestLayers_AnotherPublisher(t *testing.T) {
	h264 := func(c *caster) { c.format = h264Format }
	for name, tt := range map[string]struct {
		ids    []string
		change func(*caster)
		same   bool // the layers go on
	}{
		"same layers":      {ids: []string{"q", "h", "f"}, same: true},
		"without layers":   {},
		"other rids":       {ids: []string{"0", "1"}},
		"fewer":            {ids: []string{"q"}},
		"one layer is one": {ids: []string{"x"}},
		"another codec":    {ids: []string{"q", "h", "f"}, change: h264, same: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCaster(t, "q", "h", "f")
				defer c.close()
				units := c.play(2 * time.Second)
				low := c.layer("q")
				r, err := low.NewReader(stream.ReaderOptions{Queue: 1 << 14})
				if err != nil {
					t.Fatal(err)
				}
				c.leave()
				if len(c.s.Layers()) != 3 || low.Live() {
					t.Error("while nobody publishes the layers stay, and are not live")
				}
				time.Sleep(2 * time.Second)
				c.ids = tt.ids
				if tt.change != nil {
					tt.change(c)
				}
				c.publish()
				if tt.change == nil {
					units = append(units, c.play(2*time.Second)...)
					checkMain(t, units)
				} else {
					for i := range c.layers {
						c.push264(i)
					}
					units = append(units, c.read()...)
				}
				last := units[len(units)-1]
				if since := time.Since(last.Arrival); since > 100*ms {
					t.Errorf("main stands still for %v", since)
				}
				if tt.change != nil && (last.Track.Codec != stream.H264 || last.Track == units[0].Track) {
					t.Errorf("got %v on main", last.Track)
				}
				want := tt.ids
				if len(want) < 2 {
					want = nil
				}
				if got := c.s.Layers(); len(got) != len(want) {
					t.Errorf("got layers %v, want %v", got, want)
				}
				if tt.same != (c.layerOrNil("q") == low) {
					t.Errorf("the stream of a layer of the same name: same %v, want %v", !tt.same, tt.same)
				}
				closed := c.ends(r)
				if closed == tt.same {
					t.Errorf("reader of the layer closed: %v", closed)
				}
			})
		})
	}
}

func TestLayers_BoundsAndStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCaster(t, "q", "h")
		defer c.close()
		for _, layer := range []int{-1, 2, 1 << 40} {
			c.p.PushRTP(vp8Format, layer, vp8Packet(1), time.Now())
		}
		c.p.PushRTP(opusFormat, 5, &rtp.Packet{Payload: []byte{1}}, time.Now())
		if st := c.p.Stats(stream.Video); st.Received != 0 {
			t.Errorf("got %+v, want packets of unknown layers dropped", st)
		}
		many := make([]string, 30)
		for i := range many {
			many[i] = string(rune('a' + i))
		}
		p := ingest.NewPublisher(ingest.Config{Layers: many})
		if n := len(p.Source().Layers); n != stream.MaxLayers {
			t.Errorf("got %d layers, want at most %d", n, stream.MaxLayers)
		}
	})
}
