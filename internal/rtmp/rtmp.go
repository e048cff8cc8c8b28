// Package rtmp is the RTMP server (Adobe RTMP 1.0) under the ways that speak it.
// It is the only importer of the RTMP library and keeps it within its limits:
// it bounds and checks what peers send, puts deadlines on every socket, writes
// from one goroutine only, and knows all its connections so that Close ends them.
package rtmp

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// Errors by which callers decide.
var (
	// ErrClosed says that the Server was closed.
	ErrClosed = errors.New("rtmp: closed")
	// ErrNotFound, returned by Handler.OnPlay, tells the player that there is no
	// such stream.
	ErrNotFound = errors.New("rtmp: no such stream")
	// ErrDenied, returned by Handler.OnPlay, tells the player that it may not.
	ErrDenied = errors.New("rtmp: not allowed")
)

// Refusal is an error with words for the player, of at most 255 bytes.
type Refusal struct {
	Err  error // ErrNotFound, ErrDenied, or any other
	Text string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Text }

// Unwrap returns the kind of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// Handler decides what players get. Its methods may be called from several
// goroutines at once.
type Handler interface {
	// OnPlay is asked for the source of a player. It must not block for long:
	// the player is told that it may play when OnPlay returns. ctx ends with the
	// connection. The source is closed in any case.
	OnPlay(ctx context.Context, r Request) (Source, error)
}

// Request is what a player asks for.
type Request struct {
	// Path is the application and the stream name, split at slashes:
	// rtmp://host/live/room/slot gives live, room, slot. It has no empty parts.
	Path []string

	// Query holds the parameters of the stream name, else of the application or
	// of the URL of the connection.
	Query url.Values

	// User and Password are those in the URL of the connection; "" without.
	User, Password string

	Remote netip.AddrPort
}

// Source gives one player its messages. Next and Close are called by one
// goroutine.
type Source interface {
	// Next blocks until there is something to send. io.EOF ends the play
	// politely, another error at once.
	Next(ctx context.Context) (Message, error)
	Close()
}

// Kind is the kind of a Message.
type Kind uint8

// The kinds.
const (
	Audio    Kind = iota // Body is an FLV audio tag body
	Video                // Body is an FLV video tag body
	Metadata             // Properties are those of onMetaData
)

// Message is what a player gets.
type Message struct {
	Kind       Kind
	Timestamp  uint32 // ms, from 0; should not go back within a kind
	Body       []byte // may be shared: read-only
	Properties []Property
}

// parseUser takes user and password out of the URL of the connection, which some
// players leave in it: rtmp://user:password@host/app.
func parseUser(tcURL string) (user, password string) {
	_, rest, ok := strings.Cut(tcURL, "://")
	if !ok {
		return "", ""
	}
	host, _, _ := strings.Cut(rest, "/")
	at := strings.LastIndexByte(host, '@')
	if at < 0 {
		return "", ""
	}
	user, password, _ = strings.Cut(host[:at], ":")
	return unescape(user), unescape(password)
}

// unescape undoes percent-encoding, where it is one.
func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

// parseTarget takes apart what a player asks for. Players differ in how they
// split a URL into application and stream name, and where its query ends up.
func parseTarget(tcURL, app, name string) ([]string, url.Values) {
	app, appQuery, _ := strings.Cut(app, "?")
	name, nameQuery, _ := strings.Cut(name, "?")
	_, tcQuery, _ := strings.Cut(tcURL, "?")
	var path []string
	for _, part := range strings.Split(app+"/"+name, "/") {
		if part != "" {
			path = append(path, part)
		}
	}
	query := url.Values{}
	for _, q := range []string{tcQuery, appQuery, nameQuery} {
		// A pair that cannot be parsed is left out; the rest counts.
		vs, _ := url.ParseQuery(q)
		for k, v := range vs {
			query[k] = v
		}
	}
	return path, query
}
