package api

import (
	"context"
	"log/slog"
	"sync"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/room/datachannel"
)

// maxChannels bounds the data channels of one session. A page opens two.
const maxChannels = 4

// dataSide serves the data channels of one peer connection for the bearer of
// its token.
type dataSide struct {
	log     *slog.Logger
	session *datachannel.Session
	ctx     context.Context // of all channels; ended by close
	cancel  context.CancelFunc
	serving sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   int
	closed bool
}

func newDataSide(s *Server, r *room.Room, cl access.Claims) *dataSide {
	d := &dataSide{
		log:     s.log,
		session: datachannel.New(datachannel.Config{Log: s.log, Room: r, Who: identity(cl)}),
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d
}

// take serves a channel that the peer opened. It does not block.
func (d *dataSide) take(ch *rtc.DataChannel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.open >= maxChannels {
		_ = ch.Close() // more than any page of ours opens
		return
	}
	d.open++
	// Ended by the peer, or by close.
	d.serving.Go(func() {
		if err := d.session.Serve(d.ctx, ch); err != nil && d.ctx.Err() == nil {
			d.log.Debug("data channel ended", slog.Any("err", err))
		}
		d.mu.Lock()
		d.open--
		d.mu.Unlock()
	})
}

// close ends all channels and returns after their goroutines have.
func (d *dataSide) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.serving.Wait()
}
