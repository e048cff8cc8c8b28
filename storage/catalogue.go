package storage

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver
)

//go:embed migrations/*.sql
var migrations embed.FS

// catalogue is the SQLite database. Writes go over one connection, so that none
// waits for a lock that another goroutine of ours holds; reads go beside them.
type catalogue struct {
	write *sql.DB
	read  *sql.DB
	log   *eventLog
}

// readers bounds the connections that read. Each costs about 2 MB of cache.
const readers = 4

func openCatalogue(ctx context.Context, path string) (*catalogue, error) {
	c := new(catalogue)
	var err error
	if c.write, err = openSQLite(path, false); err != nil {
		return nil, err
	}
	c.write.SetMaxOpenConns(1)
	if err := migrate(ctx, c.write); err != nil {
		return nil, errors.Join(err, c.close())
	}
	if c.read, err = openSQLite(path, true); err != nil {
		return nil, errors.Join(err, c.close())
	}
	c.read.SetMaxOpenConns(readers)
	c.read.SetMaxIdleConns(readers)
	c.log = newEventLog(c.write)
	return c, nil
}

// openSQLite sets what must hold for every connection of the pool. With a
// write-ahead log and synchronous=NORMAL a commit survives the end of the
// process at once, and a power cut up to the last checkpoint.
func openSQLite(path string, readOnly bool) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}}
	for _, p := range []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(NORMAL)"} {
		q.Add("_pragma", p)
	}
	if readOnly {
		q.Add("_pragma", "query_only(1)")
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("opening catalogue: %w", err)
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrating catalogue: %w", err)
	}
	return nil
}

func (c *catalogue) close() error {
	if c.log != nil {
		c.log.close()
	}
	var errs []error
	for _, db := range []*sql.DB{c.read, c.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}
