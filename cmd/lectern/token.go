package main

import (
	"fmt"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

type tokenCmd struct {
	Data string        `help:"Data directory of the gateway." default:"lectern-data" env:"LECTERN_DATA_DIR" type:"path"`
	Room string        `help:"Room the token is for; \"*\" is every room." required:""`
	Role string        `help:"One of teacher, assistant, student, player, ingest, admin." required:"" enum:"admin,teacher,assistant,student,player,ingest"`
	TTL  time.Duration `help:"How long it is valid, at most 8784h." default:"12h" name:"ttl"`
	Name string        `help:"Name of the person, as others see it."`
	ID   string        `help:"Stable id of the person; made up if empty." name:"id"`
	Slot string        `help:"The only stream that it may publish to."`

	NotBefore time.Time `help:"When it begins to be valid, as 2026-11-20T08:00:00Z; at once if empty."`
}

// Validate refuses a room or a stream that there can never be.
func (c tokenCmd) Validate() error {
	if c.Slot != "" {
		if err := room.ValidName(c.Slot); err != nil {
			return err
		}
	}
	if c.Room == "*" {
		return nil
	}
	return room.ValidName(c.Room)
}

// Run prints a token. It needs only the key in the data directory, so that it
// works whether or not the gateway runs.
func (c tokenCmd) Run(io std) error {
	a, err := access.OpenSigner(c.Data)
	if err != nil {
		return err
	}
	defer a.Close()
	claims := access.Claims{Subject: c.ID, Name: c.Name, Room: c.Room, Role: access.Role(c.Role), Slot: c.Slot}
	token, _, err := a.IssueToken(claims, c.NotBefore, c.TTL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(io.out, token)
	return err
}
