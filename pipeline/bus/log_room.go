package bus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
)

// Room is how full the event log is, in bytes as the server counts them. As the log fills up, the bus
// refuses uploads first, then new attempts, then everything but deletions and revocations. So a log that
// fills up never keeps a video from ending, or from being deleted.
type Room struct {
	Bytes, Max int64
	// Above these sizes the bus refuses uploads (Uploads), attempts too (Attempts), and all but deletions
	// (Work). They are an eighth, a sixteenth and a thirty-second below Max, or 512, 256 and 128 MiB when that
	// is less.
	Uploads, Attempts, Work int64
}

func roomOf(bytes, limit int64) Room {
	return Room{
		Bytes: bytes, Max: limit,
		Uploads:  limit - min(limit/8, 512<<20),
		Attempts: limit - min(limit/16, 256<<20),
		Work:     limit - min(limit/32, 128<<20),
	}
}

// For returns the bytes up to which the log takes events of a type.
func (r Room) For(t pipeline.EventType) int64 {
	switch t {
	case pipeline.VideoUploaded:
		return r.Uploads
	case pipeline.JobStarted, pipeline.JobRequeued:
		return r.Attempts
	case pipeline.VideoDeleted, pipeline.VideoPurged, pipeline.JobCanceled, pipeline.KeyRevoked,
		pipeline.SigningKeyRevoked, pipeline.ProjectDeleted:
		return r.Max
	}
	return r.Work
}

// refusal returns the error for an event that does not fit.
func (r Room) refusal(t pipeline.EventType) error {
	return &pipeline.Error{
		Code: pipeline.CodeLogFull, Err: ErrFull,
		Detail: fmt.Sprintf("the event log has %s of %s, and takes %s up to %s",
			bytesize.Size(r.Bytes), bytesize.Size(r.Max), t, bytesize.Size(r.For(t))),
	}
}

// messageOverhead is about how many bytes the server adds to subject and data of an event for headers and its
// record (filestore.go, fileStoreMsgSize).
const messageOverhead = 220

// fillFresh is how long the size of the log is trusted after it was read. In that time other processes append
// far less than is kept free.
const fillFresh = time.Second

// fillTimeout is how long an event waits for the size to be read.
const fillTimeout = 2 * time.Second

// fullness is the size of the log as this process knows it: the last size read, and the bytes that this
// process appended since.
type fullness struct {
	mu   sync.Mutex
	room Room
	read time.Time
}

// known returns the size, and whether it is stale: then the caller reads it again.
func (f *fullness) known() (r Room, stale bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if stale = time.Since(f.read) > fillFresh; stale {
		f.read = time.Now() // one caller reads; the others use what is known
	}
	return f.room, stale
}

func (f *fullness) set(r Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room, f.read = r, time.Now()
}

func (f *fullness) add(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room.Bytes += n
}

// Room reads how full the log is.
func (b *Bus) Room(ctx context.Context) (Room, error) {
	var r Room
	err := b.patiently(ctx, func(ctx context.Context) error {
		stream, err := b.js.Stream(ctx, streamEvents)
		if err == nil {
			info := stream.CachedInfo()
			r = roomOf(int64(info.State.Bytes), info.Config.MaxBytes)
		}
		return err
	})
	if err != nil {
		return r, fmt.Errorf("read the size of the log: %w", err)
	}
	b.fill.set(r)
	return r, nil
}

// Fits returns ErrFull when the log has no room for an event of a type and of usual size. It reads the size
// of the log when that was read more than a second ago, or leaves no room. Then it waits for the broker, for
// 2 s at most; of several callers one reads an old size, and the others use it. Without an answer it goes by
// the size that is known: if the broker is away, the append fails by itself.
func (b *Bus) Fits(ctx context.Context, t pipeline.EventType) error {
	return b.fits(ctx, t, usualEvent)
}

// usualEvent is about the size of most events.
const usualEvent = 2 << 10

// fits returns ErrFull when the log has no room for an event of a type and size.
func (b *Bus) fits(ctx context.Context, t pipeline.EventType, size int64) error {
	r, stale := b.fill.known()
	if stale || r.Bytes+size > r.For(t) {
		limited, cancel := context.WithTimeout(ctx, fillTimeout)
		defer cancel()
		if now, err := b.Room(limited); err == nil {
			r = now
		}
	}
	if r.Max > 0 && r.Bytes+size > r.For(t) {
		return r.refusal(t)
	}
	return nil
}
