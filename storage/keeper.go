package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	syncEvery     = time.Second     // what a power cut may lose
	manifestEvery = 5 * time.Second // how old the numbers in the manifest may be
)

// keep syncs the files of the recording, apart from the goroutines that write:
// a disk that takes seconds for a sync holds nobody up. When the slots have
// finished it completes the recording.
func (r *Recording) keep() {
	defer close(r.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	saved := time.Now()
	for ended := false; !ended; {
		force := false
		select {
		case <-tick.C:
		case <-r.kick:
			force = true
		case <-r.ended:
			ended = true
			continue
		}
		if err := r.syncFiles(); err != nil {
			r.fail(err)
			continue
		}
		if err := r.store.checkFree(); err != nil {
			r.fail(err)
			continue
		}
		if force || time.Since(saved) >= manifestEvery {
			saved = time.Now()
			if err := r.saveManifest(); err != nil {
				r.fail(err)
			}
		}
	}
	r.writers.Wait()
	err := r.complete()
	r.mu.Lock()
	r.endErr = err
	m := r.man
	r.mu.Unlock()
	r.store.forget(r)
	if err != nil {
		r.log.Error("recording not completed", "err", err) // recovered at the next start
		return
	}
	r.log.Info("recording ended", "dur_ms", m.DurationMS, "bytes", m.size(), "tracks", len(m.Tracks), "gaps", len(m.Gaps))
}

// complete writes what makes the folder a whole.
func (r *Recording) complete() error {
	errs := []error{r.events.close(), r.syncFiles()}
	r.mu.Lock()
	r.man.State = StateComplete
	r.man.Tracks = slices.DeleteFunc(r.man.Tracks, func(t TrackInfo) bool { return t.Frames == 0 })
	r.man.DurationMS = max(ms(r.endAt), r.man.mediaEnd())
	r.man.EndedAt = r.begin.Add(time.Duration(r.man.DurationMS * float64(time.Millisecond)))
	r.changed = true
	r.mu.Unlock()
	errs = append(errs, r.saveManifest())
	if err := r.store.index(context.Background(), r.Manifest()); err != nil {
		r.log.Warn("recording not in catalogue", "err", err) // the next start finds the folder
	}
	return errors.Join(append(errs, r.root.Close())...)
}

// trackFile is one track of a recording on its way to the disk.
type trackFile struct {
	n     int // in the manifest
	media *mediaFile
	index *mediaFile
}

// newTrack opens the files of a track and enters it into the manifest.
func (r *Recording) newTrack(info TrackInfo, ext string) (*trackFile, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 1
	for _, t := range r.man.Tracks {
		if t.Stream == info.Stream && t.Kind == info.Kind {
			n++
		}
	}
	info.ID = info.Stream + "-" + info.Kind + "-" + strconv.Itoa(n)
	info.File, info.Index = info.ID+ext, info.ID+".idx"
	media, err := r.create(info.File)
	if err != nil {
		return nil, err
	}
	index, err := r.create(info.Index)
	if err != nil {
		return nil, errors.Join(err, media.f.Close())
	}
	t := &trackFile{n: len(r.man.Tracks), media: media, index: index}
	r.files = append(r.files, media, index)
	r.man.Tracks = append(r.man.Tracks, info)
	r.kickLocked()
	_, _ = index.Write(indexLine(IndexHead{
		Version: ManifestVersion, Track: info.ID, Stream: info.Stream, Kind: info.Kind,
		Codec: info.Codec, ClockRate: info.ClockRate, OffsetMS: info.OffsetMS,
	})) // collects only
	r.log.Info("track began", "track", info.ID, "codec", info.Codec)
	return t, index.commit()
}

func (r *Recording) create(name string) (*mediaFile, error) {
	f, err := r.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("creating track file: %w", err)
	}
	return &mediaFile{f: f}, nil
}

// mark appends an entry to the index.
func (t *trackFile) mark(e IndexEntry) error {
	_, _ = t.index.Write(indexLine(e)) // collects only
	return t.index.commit()
}

// release leaves the files to the keeper.
func (t *trackFile) release() {
	t.media.done.Store(true)
	t.index.done.Store(true)
}

// syncFiles syncs what has changed, and closes what the writers have let go of.
func (r *Recording) syncFiles() error {
	r.mu.Lock()
	files := slices.Clone(r.files)
	r.mu.Unlock()
	errs := []error{r.events.sync()}
	for _, m := range files {
		done := m.done.Load() // before the sync: nothing is written after it
		errs = append(errs, m.sync())
		if !done {
			continue
		}
		errs = append(errs, m.f.Close())
		r.mu.Lock()
		r.files = slices.DeleteFunc(r.files, func(o *mediaFile) bool { return o == m })
		r.mu.Unlock()
	}
	return errors.Join(errs...)
}

// saveManifest writes the manifest if it has changed.
func (r *Recording) saveManifest() error {
	r.mu.Lock()
	changed := r.changed || r.man.State == StateRecording
	r.changed = false
	r.mu.Unlock()
	if !changed {
		return nil
	}
	return writeManifest(r.root, r.Manifest())
}

// writeManifest replaces the manifest in a folder: whoever reads it sees the old
// one or the new one, also after a power cut.
func writeManifest(root *os.Root, m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	if err := replaceFile(root, manifestFile, append(b, '\n')); err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	return nil
}

func replaceFile(root *os.Root, name string, b []byte) error {
	tmp := name + ".tmp"
	f, err := root.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(root, ".")
}

func syncDir(root *os.Root, name string) error {
	d, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkFree returns ErrDiskFull if there is too little space to go on.
func (s *Store) checkFree() error {
	if s.cfg.MinFree < 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(s.cfg.Dir, &st); err != nil {
		return fmt.Errorf("reading free space: %w", err)
	}
	//nolint:unconvert // the width of Bsize differs between systems
	if free := int64(st.Bavail) * int64(st.Bsize); free < s.cfg.MinFree {
		return fmt.Errorf("%w: %d bytes free, %d wanted", ErrDiskFull, free, s.cfg.MinFree)
	}
	return nil
}

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, ErrDiskFull)
}

// mediaEnd is where the last track ends, in ms on the timeline.
func (m *Manifest) mediaEnd() float64 {
	end := 0.0
	for _, t := range m.Tracks {
		end = max(end, t.OffsetMS+t.DurationMS)
	}
	return end
}

// size is the bytes of all media and shared files.
func (m *Manifest) size() int64 {
	var n int64
	for _, t := range m.Tracks {
		n += t.Bytes
	}
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}
