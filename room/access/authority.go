package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Names of the files in the data directory.
const (
	keyFile  = "access.key" // hex of the signing key
	hashFile = "admin.hash" // hex of the SHA-256 of the administrator's key
)

const keyBytes = 32 // as long as the hash of HS256 (RFC 7518, section 3.2)

// Authority issues and verifies credentials and keeps what was granted. All
// methods may be called from any goroutine; those that take a context may block
// on the Ledger, on the hook or on a key set.
type Authority struct {
	key       []byte
	adminHash [sha256.Size]byte
	hasAdmin  bool
	newKey    string
	newFile   string // holds the hash of newKey
	parser    *jwt.Parser

	turn   chan struct{}   // held while what is kept changes, which takes I/O
	slow   chan struct{}   // held while a passcode is hashed
	gone   sync.WaitGroup  // everything that was started and not waited for
	ctx    context.Context // of the lifetime; ended by Close
	cancel context.CancelFunc

	mu      sync.Mutex // guards what follows; no I/O and no callbacks under it
	closed  bool
	log     *slog.Logger
	ledger  Ledger // nil: in memory only
	revoked map[string]time.Time
	rooms   map[string]*roomRecord
	grants  map[string]*grant            // invitations by id
	codes   map[[sha256.Size]byte]string // ids of invitations by the hash of their code
	keys    map[string]*storedKey
	used    map[string]bool // keys whose last use is to be kept
	keeping bool            // keepUses runs
	watches map[*watch]struct{}
	outside *outside // nil: no credentials but our own
}

// Open reads the signing key from dataDir, or makes it at first use; several
// processes may do so at once. adminKey is the key of the administrator; with
// "" it is the one made at the first start, of which dataDir keeps a hash.
// created is true when this call has made that key: NewAdminKey returns it, once
// and for all, so that it can be shown.
func Open(dataDir, adminKey string) (a *Authority, created bool, err error) {
	a, err = OpenSigner(dataDir)
	if err != nil {
		return nil, false, err
	}
	a.hasAdmin = true
	if adminKey != "" {
		a.adminHash = sha256.Sum256([]byte(adminKey))
		return a, false, nil
	}
	fresh := rand.Text()
	sum := sha256.Sum256([]byte(fresh))
	stored, created, err := readOrCreate(filepath.Join(dataDir, hashFile), sum[:])
	if err != nil {
		return nil, false, err
	}
	copy(a.adminHash[:], stored)
	if created {
		a.newKey, a.newFile = fresh, filepath.Join(dataDir, hashFile)
	}
	return a, created, nil
}

// OpenSigner is Open without a key of the administrator, for a process beside
// the server that only issues tokens.
func OpenSigner(dataDir string) (*Authority, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	fresh := make([]byte, keyBytes)
	_, _ = rand.Read(fresh) // never fails (crypto/rand)
	key, _, err := readOrCreate(filepath.Join(dataDir, keyFile), fresh)
	if err != nil {
		return nil, err
	}
	a := &Authority{
		key:     key,
		parser:  ownParser(),
		turn:    make(chan struct{}, 1),
		slow:    make(chan struct{}, 1),
		log:     slog.New(slog.DiscardHandler),
		revoked: make(map[string]time.Time),
		rooms:   make(map[string]*roomRecord),
		grants:  make(map[string]*grant),
		codes:   make(map[[sha256.Size]byte]string),
		keys:    make(map[string]*storedKey),
		used:    make(map[string]bool),
		watches: make(map[*watch]struct{}),
	}
	a.ctx, a.cancel = context.WithCancel(context.Background())
	return a, nil
}

// Close ends all watches without a word and returns when nothing runs any more.
// It is idempotent. Credentials can still be verified afterwards.
func (a *Authority) Close() {
	a.mu.Lock()
	a.closed = true
	watches := make([]*watch, 0, len(a.watches))
	for w := range a.watches {
		watches = append(watches, w)
	}
	clear(a.watches)
	a.mu.Unlock()
	for _, w := range watches {
		w.stop()
	}
	a.cancel()
	a.gone.Wait()
}

// logger is where to say what nobody else would learn of.
func (a *Authority) logger() *slog.Logger {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log
}

// begin runs f on a goroutine of its own that Close waits for, unless a is
// closed already.
func (a *Authority) begin(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.gone.Go(f)
	return true
}

// NewAdminKey returns the key of the administrator in clear if Open has just
// made it, else "". Only a hash is kept on disk.
func (a *Authority) NewAdminKey() string { return a.newKey }

// DropNewAdminKey forgets the key that Open has just made, so that the next Open
// makes another: a key that nobody was shown would lock everybody out for good.
// It does nothing if Open made none.
func (a *Authority) DropNewAdminKey() error {
	if a.newKey == "" {
		return nil
	}
	if err := os.Remove(a.newFile); err != nil {
		return fmt.Errorf("dropping the new admin key: %w", err)
	}
	return nil
}

// isAdminKey compares hashes, so that neither the time nor the length tells
// anything of the key.
func (a *Authority) isAdminKey(credential string) bool {
	sum := sha256.Sum256([]byte(credential))
	return a.hasAdmin && subtle.ConstantTimeCompare(sum[:], a.adminHash[:]) == 1
}

// encode and decode are the form of secrets on disk: hex and a newline.
func encode(secret []byte) []byte { return append(hex.AppendEncode(nil, secret), '\n') }

func decode(text []byte) ([]byte, error) {
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
	}
	secret, err := hex.DecodeString(string(text))
	if err != nil || len(secret) != keyBytes {
		return nil, fmt.Errorf("want %d hexadecimal digits", 2*keyBytes)
	}
	return secret, nil
}
