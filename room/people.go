package room

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

const (
	// crowd is the size of a roster above which presence is told at most once
	// a second, and the most people that one message names.
	crowd = 200

	presenceEvery      = 100 * time.Millisecond
	presenceEveryCrowd = time.Second
)

// person is one member of the room with any number of connections.
type person struct {
	Person
	conns   int
	leaveAt time.Time // when conns is 0: until then the person may come back
	limiter *rate.Limiter
	told    *Person // as announced, nil: not yet
}

// roster is who is here. It is guarded by the room.
type roster struct {
	byID  map[string]*person
	dirty map[string]*Person // to be announced: as told before, nil: unknown
	hands map[string]bool    // up when the log was read, of people not here yet
	reset bool               // the next announcement voids those before
	next  time.Time          // no announcement before
}

func newRoster() roster {
	return roster{
		byID:  make(map[string]*person),
		dirty: make(map[string]*Person),
		hands: make(map[string]bool),
	}
}

// see keeps the hands as the log tells them.
func (p *roster) see(l Line) {
	e, err := l.decode()
	if err != nil {
		return // of a newer version, or damaged: not about hands
	}
	switch e.Type {
	case TypeHand:
		id := e.By
		if e.Who != "" {
			id = e.Who
		}
		p.setHand(id, e.Up != nil && *e.Up)
	case TypePeople:
		for _, id := range e.Left {
			delete(p.hands, id)
		}
	}
}

func (p *roster) setHand(id string, up bool) {
	delete(p.hands, id)
	q, here := p.byID[id]
	switch {
	case here:
		q.Hand = up
		if q.told != nil { // the event has told it
			q.told.Hand = up
		}
	case up:
		p.hands[id] = true
	}
}

// enter adds a connection of a person.
func (p *roster) enter(who Person, l Limits) *person {
	q, ok := p.byID[who.ID]
	if !ok {
		q = &person{Person: who, limiter: rate.NewLimiter(rate.Limit(l.MemberRate), l.MemberBurst)}
		q.Hand = p.hands[who.ID]
		delete(p.hands, who.ID)
		p.byID[who.ID] = q
	}
	q.conns++
	// The newest connection tells the name.
	q.Name, q.Lang, q.Role = who.Name, who.Lang, who.Role
	p.dirty[who.ID] = q.told
	return q
}

// leave takes a connection away.
func (p *roster) leave(q *person, delay time.Duration) {
	q.conns--
	if q.conns == 0 {
		q.leaveAt = time.Now().Add(delay)
	}
}

// sweep removes the people whose time to come back is over.
func (p *roster) sweep(now time.Time) {
	for id, q := range p.byID {
		if q.conns == 0 && !now.Before(q.leaveAt) {
			delete(p.byID, id)
			p.dirty[id] = q.told
		}
	}
}

// due is when sweep or announcement have something to do; zero: never.
func (p *roster) due() time.Time {
	var due time.Time
	if len(p.dirty) > 0 {
		due = p.next
		if due.IsZero() {
			due = time.Now()
		}
	}
	for _, q := range p.byID {
		if q.conns == 0 && (due.IsZero() || q.leaveAt.Before(due)) {
			due = q.leaveAt
		}
	}
	return due
}

// announcement returns the event that tells what has changed, if it is time and
// anything has.
func (p *roster) announcement(now time.Time) (Event, bool) {
	if len(p.dirty) == 0 || now.Before(p.next) {
		return Event{}, false
	}
	total := len(p.byID)
	e := Event{Type: TypePeople, Total: &total, Reset: p.reset}
	for id, told := range p.dirty {
		if len(e.Joined)+len(e.Left) == crowd {
			break // the rest comes next time
		}
		delete(p.dirty, id)
		q, here := p.byID[id]
		switch {
		case here && (told == nil || *told != q.Person):
			e.Joined = append(e.Joined, q.Person)
			copied := q.Person
			q.told = &copied
		case !here && told != nil:
			e.Left = append(e.Left, id)
		}
	}
	if len(e.Joined)+len(e.Left) == 0 {
		return Event{}, false
	}
	p.reset = false
	slices.SortFunc(e.Joined, func(a, b Person) int { return strings.Compare(a.ID, b.ID) })
	slices.Sort(e.Left)
	p.next = now.Add(presenceEvery)
	if total > crowd {
		p.next = now.Add(presenceEveryCrowd)
	}
	return e, true
}

// list returns at most crowd people, teachers and raised hands first.
func (p *roster) list() []Person {
	people := make([]Person, 0, len(p.byID))
	for _, q := range p.byID {
		people = append(people, q.Person)
	}
	rank := func(a Person) int {
		switch {
		case a.Role != "student":
			return 0
		case a.Hand:
			return 1
		}
		return 2
	}
	slices.SortFunc(people, func(a, b Person) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return people[:min(len(people), crowd)]
}
