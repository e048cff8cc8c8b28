package access

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readOrCreate returns the secret kept in the file of that name, or makes the
// file with fresh in it. Of several processes that do so at once, one creates
// the file and all return its secret.
func readOrCreate(name string, fresh []byte) (secret []byte, created bool, err error) {
	secret, err = readSecret(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, false, err
	}
	created, err = create(name, encode(fresh))
	if err != nil {
		return nil, false, err
	}
	secret, err = readSecret(name)
	return secret, created, err
}

func readSecret(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading a secret: %w", err)
	}
	secret, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("reading the secret in %s: %w", filepath.Base(name), err)
	}
	return secret, nil
}

// create makes the file whole or not at all: a link, unlike a rename, does not
// replace the file that another process has made meanwhile.
func create(name string, text []byte) (created bool, err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp") // mode 0600
	if err != nil {
		return false, fmt.Errorf("making a secret: %w", err)
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // the link keeps the file
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return false, fmt.Errorf("writing a secret: %w", err)
	}
	err = os.Link(tmp.Name(), name)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keeping a secret: %w", err)
	}
	return true, syncDir(filepath.Dir(name))
}

// syncDir makes a new name in dir survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the data directory: %w", err)
	}
	err = d.Sync()
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("syncing the data directory: %w", err)
	}
	return nil
}
