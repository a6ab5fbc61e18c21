package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/storage"
)

// Disk is the disk that the data folder is on. Uploads leave some of it free.
type Disk struct {
	// Dir is a folder on the disk.
	Dir string
	// MinFree is how many bytes uploads leave free. 0: a tenth of the disk, 2 to 20 GiB.
	MinFree int64

	evict []func() // remove files that can be fetched again
}

// FreeSpace returns why the disk takes no uploads: it is read-only (pipeline.CodeDiskReadOnly), or too full
// for them (storage.ErrFull with pipeline.CodeDiskFull). Events can still be written to a disk that is too
// full.
func (d *Disk) FreeSpace() error {
	if err := writable(d.Dir, "the data folder"); err != nil {
		return err
	}
	free, keep, err := d.room(d.Dir, d.Reserve)
	if err != nil {
		return err
	}
	if free < keep {
		err := fmt.Errorf("%w: %s are free, and uploads leave %s; free space, or lower --min-free",
			storage.ErrFull, bytesize.Size(free), bytesize.Size(keep))
		return &pipeline.Error{Code: pipeline.CodeDiskFull, Detail: err.Error(), Err: storage.ErrFull}
	}
	return nil
}

// writable returns an error when no file can be made in dir, called what, because its disk is read-only.
// Linux makes it so when the disk has faults. Neither statfs nor access always tell, so writable makes a
// file and removes it.
func writable(dir, what string) error {
	probe := filepath.Join(dir, ".reelmill-probe")
	f, err := os.OpenFile(probe, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(probe))
	}
	if errors.Is(err, unix.EROFS) {
		return &pipeline.Error{
			Code: pipeline.CodeDiskReadOnly, Err: err,
			Detail: fmt.Sprintf("the disk of %s is read-only: look for faults of the disk in the system's log, and "+
				"mount it for writing again", what),
		}
	}
	return nil // other errors show where they matter
}

// Reserve returns how many bytes uploads leave free on a disk of so many bytes.
func (d *Disk) Reserve(total int64) int64 {
	if d.MinFree != 0 {
		return d.MinFree
	}
	return min(max(2<<30, total/10), 20<<30)
}

// Measure returns the free and the total bytes of the disk.
func (d *Disk) Measure() (free, total int64, err error) { return space(d.Dir) }

// room returns the free bytes of the disk of dir, and how many must stay free: of gives that from the total.
// When too few are free, it evicts first.
func (d *Disk) room(dir string, of func(total int64) int64) (free, keep int64, err error) {
	free, total, err := space(dir)
	if keep = of(total); err != nil || free >= keep || len(d.evict) == 0 {
		return free, keep, err
	}
	for _, evict := range d.evict {
		evict()
	}
	free, _, err = space(dir)
	return free, keep, err
}

// space returns the free and the total bytes of the disk of dir.
func space(dir string) (free, total int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), int64(fs.Blocks) * int64(fs.Bsize), nil
}
