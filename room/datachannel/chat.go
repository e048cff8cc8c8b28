package datachannel

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/lectern/lectern/room"
)

// outQueue bounds the answers that wait for a slow client; while it is full, the
// client is not read.
const outQueue = 64

// chat serves one chat channel: serveChat reads, deliver writes.
type chat struct {
	s    *Session
	link link
	out  chan outgoing

	joined chan struct{} // closed when member is set
	member *room.Member  // set once, by deliver
	sent   uint64        // seq of the last event written; of deliver
}

// outgoing is an answer, or the wish to join.
type outgoing struct {
	msg  []byte
	join *hello
}

func (s *Session) serveChat(ctx context.Context, l link) error {
	c := &chat{s: s, link: l, out: make(chan outgoing, outQueue), joined: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() { l.cancel(c.deliver(ctx)) }) // ends with ctx
	err := c.read(ctx)
	l.cancel(err) // the first cause stays
	wg.Wait()
	if c.member != nil {
		c.member.Leave()
	}
	return context.Cause(ctx)
}

func (c *chat) read(ctx context.Context) error {
	buf := make([]byte, maxMessage)
	for {
		msg, isText, tooLarge, err := c.link.read(ctx, buf)
		switch {
		case err != nil:
			return err
		case tooLarge:
			err = c.reply(ctx, refusal(codeTooLarge, "a message has at most 16384 bytes"))
		case !isText:
			err = c.reply(ctx, refusal(codeBadMessage, "chat takes text messages"))
		default:
			err = c.handle(ctx, msg)
		}
		if err != nil {
			return err
		}
	}
}

// handle does what one message asks for. An error ends the channel.
func (c *chat) handle(ctx context.Context, msg []byte) error {
	h, err := decodeHead(msg)
	if err != nil {
		return c.fail(ctx, h.Ref, err)
	}
	var seq uint64
	switch h.Type {
	case "hello":
		var hi hello
		err = decode(msg, &hi)
		if err == nil && hi.Key != "" && (len(hi.Key) < minKey || len(hi.Key) > maxKey) {
			err = errBadMessage
		}
		if err == nil {
			return c.enqueue(ctx, outgoing{join: &hi})
		}
	case "say":
		seq, err = c.say(ctx, h, msg)
	case "hand":
		seq, err = c.hand(ctx, h, msg)
	default:
		return nil // of a later version
	}
	if err != nil {
		return c.fail(ctx, h.Ref, err)
	}
	return c.reply(ctx, encode(okMessage{Type: "ok", Ref: h.Ref, Seq: seq}))
}

func (c *chat) say(ctx context.Context, h head, msg []byte) (uint64, error) {
	var v say
	if err := decode(msg, &v); err != nil {
		return 0, err
	}
	if err := c.await(ctx); err != nil {
		return 0, err
	}
	return c.member.Say(ctx, string(h.Ref), v.Text)
}

func (c *chat) hand(ctx context.Context, h head, msg []byte) (uint64, error) {
	var v hand
	if err := decode(msg, &v); err != nil {
		return 0, err
	}
	if v.Up == nil {
		return 0, errBadMessage
	}
	if err := c.await(ctx); err != nil {
		return 0, err
	}
	return c.member.RaiseHand(ctx, string(h.Ref), *v.Up, v.Who)
}

// await waits until the client is a member: one that asks before it has said
// hello joins without.
func (c *chat) await(ctx context.Context) error {
	select {
	case <-c.joined:
		return nil
	default:
	}
	if err := c.enqueue(ctx, outgoing{join: nil}); err != nil {
		return err
	}
	select {
	case <-c.joined:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fail answers a request that went wrong. It returns an error only when the
// channel has ended.
func (c *chat) fail(ctx context.Context, ref json.RawMessage, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	m, known := failure(err)
	if !known {
		c.s.log.Error("request failed", "err", err)
	}
	m.Ref = ref
	return c.reply(ctx, encode(m))
}

func (c *chat) reply(ctx context.Context, msg []byte) error {
	return c.enqueue(ctx, outgoing{msg: msg})
}

func (c *chat) enqueue(ctx context.Context, o outgoing) error {
	select {
	case c.out <- o:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// deliver joins the room and writes answers and events.
func (c *chat) deliver(ctx context.Context) error {
	silent := time.NewTimer(helloWait)
	defer silent.Stop()
	var ready <-chan struct{} // nil before the join
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silent.C:
			err = c.join(ctx, nil)
		case o := <-c.out:
			if o.msg == nil {
				err = c.join(ctx, o.join)
			} else {
				err = c.link.write(ctx, o.msg, true)
			}
		case <-ready:
			err = c.events(ctx)
		}
		if err != nil {
			return err
		}
		if c.member != nil {
			ready = c.member.Ready()
		}
	}
}

// events writes what is queued, but lets answers pass.
func (c *chat) events(ctx context.Context) error {
	for len(c.out) == 0 {
		line, ok, err := c.member.Take()
		switch {
		case errors.Is(err, room.ErrLagging):
			return c.link.write(ctx, encode(laggingMessage{Type: "lagging", Seq: c.sent}), true)
		case err != nil:
			// The room is closed: say so, and end.
			m, _ := failure(err)
			return errors.Join(err, c.link.write(ctx, encode(m), true))
		case !ok:
			return nil
		}
		if err := c.link.write(ctx, line.JSON, true); err != nil {
			return err
		}
		c.sent = line.Seq
	}
	c.member.Poke() // the rest comes after the answers
	return nil
}

// join makes the client a member, or joins anew; h is nil when it has not said
// hello.
func (c *chat) join(ctx context.Context, h *hello) error {
	if c.member != nil && h == nil {
		return nil
	}
	if h == nil {
		h = &hello{}
	}
	opts := room.JoinOptions{Since: h.Since, Name: h.Name, Lang: h.Lang}
	var w room.Welcome
	var err error
	if c.member == nil {
		var m *room.Member
		m, w, err = c.s.room.Join(c.s.identify(*h), opts)
		if err == nil {
			c.member = m
			close(c.joined)
		}
	} else {
		w, err = c.member.Rejoin(opts)
	}
	if err != nil {
		return c.refuse(ctx, err)
	}
	c.s.settle(w.You)
	c.sent = h.Since
	return c.welcome(ctx, w)
}

// refuse tells why the client is not welcomed. One that is no member is of no
// use then.
func (c *chat) refuse(ctx context.Context, why error) error {
	m, known := failure(why)
	if !known {
		c.s.log.Error("join failed", "err", why)
	}
	err := c.link.write(ctx, encode(m), true)
	if c.member != nil {
		return err
	}
	return errors.Join(why, err)
}

func (c *chat) welcome(ctx context.Context, w room.Welcome) error {
	l := c.s.room.Limits()
	err := c.link.write(ctx, encode(welcomeMessage{
		Type: "welcome", You: w.You, Room: w.Room, People: w.People, Total: w.Total, Seq: w.Seq,
		Limits: limits{
			MessageBytes: maxMessage, TextBytes: l.TextBytes, NameChars: l.NameChars,
			Rate: l.MemberRate, Burst: l.MemberBurst, History: l.History,
			FileBytes: min(l.FileBytes, maxOffset), ChunkBytes: maxChunk, WindowBytes: window, Transfers: maxTransfer,
		},
	}), true)
	if err != nil || w.From == 0 {
		return err
	}
	c.sent = w.From - 1
	return c.link.write(ctx, encode(truncatedMessage{Type: "truncated", From: w.From}), true)
}
