package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// noted is what a note says of an unfinished object.
type noted struct {
	Version uint64 `json:"version"` // grows with each note; the highest counts
	Key     string `json:"key"`
	Size    int64  `json:"size"`   // that Begin named; 0 if unknown
	Offset  int64  `json:"offset"` // so many bytes are synced
	Hash    []byte `json:"hash"`   // state of the SHA-256 of these bytes
	Boot    string `json:"boot"`   // bootID of the last writer
	// Checking is set while bytes are written whose checksum is not known yet: only Offset counts.
	Checking bool `json:"checking,omitempty"`
}

// A note file has two slots of one page each. A new note goes to the slot of the older one, so that a power
// cut during the write leaves the newer one. A slot is the SHA-256 of the rest, a line feed, JSON, and
// spaces.
const (
	slots    = 2
	slotSize = 4096
)

// place says where the next note goes.
type place struct {
	slot    int64
	version uint64
	synced  bool // the last note is known to be on disk: it may have come from a process that was killed
}

// write writes a note, and syncs it with sync. A note that could not be synced counts for nobody: its slot is
// cleared, since the caller cuts off the bytes that it tells of.
func (a *place) write(f *os.File, n noted, sync func(*os.File) error) error {
	if !a.synced && a.version > 0 {
		if err := sync(f); err != nil { // or both slots may be lost in one power cut
			return err
		}
	}
	n.Version = a.version + 1
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	body := make([]byte, slotSize-2*sha256.Size)
	if len(text) > len(body)-1 {
		return fmt.Errorf("note of %d bytes", len(text))
	}
	body[0] = '\n'
	for i := 1 + copy(body[1:], text); i < len(body); i++ {
		body[i] = ' '
	}
	sum := sha256.Sum256(body)
	_, err = f.WriteAt(append([]byte(hex.EncodeToString(sum[:])), body...), a.slot*slotSize)
	if err == nil {
		err = sync(f)
	}
	if err != nil {
		_, failed := f.WriteAt(make([]byte, slotSize), a.slot*slotSize)
		return errors.Join(err, failed)
	}
	*a = place{slot: (a.slot + 1) % slots, version: n.Version, synced: true}
	return nil
}

// readNote returns the newest note, and where the next one goes. A file without a valid note is damaged.
func readNote(f *os.File) (best noted, at place, err error) {
	page := make([]byte, slotSize)
	for slot := range int64(slots) {
		if _, err := f.ReadAt(page, slot*slotSize); errors.Is(err, io.EOF) {
			continue
		} else if err != nil {
			return best, at, fmt.Errorf("read the note: %w", err)
		}
		if n, ok := parseSlot(page); ok && n.Version > best.Version {
			best, at = n, place{slot: (slot + 1) % slots, version: n.Version}
		}
	}
	if best.Version == 0 {
		return best, at, fmt.Errorf("its note cannot be read: %w", errDamaged)
	}
	return best, at, nil
}

// parseSlot returns the note in a slot, if it is whole.
func parseSlot(page []byte) (n noted, ok bool) {
	const head = 2 * sha256.Size
	if len(page) != slotSize {
		return n, false
	}
	sum := sha256.Sum256(page[head:])
	if !bytes.Equal([]byte(hex.EncodeToString(sum[:])), page[:head]) {
		return n, false
	}
	err := json.Unmarshal(page[head:], &n)
	return n, err == nil && n.Offset >= 0
}
