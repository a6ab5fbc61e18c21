package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Errors of Open and of the methods. A missing video or object is pipeline.ErrNotFound.
var (
	// ErrSchema: a later version of ReelMill wrote the file. Remedy: use that version, or rebuild.
	ErrSchema = errors.New("a later version of ReelMill wrote the catalog")
	// ErrDamaged: the file is not an SQLite database, a broken one, or not as it was when it was closed. Remedy:
	// rebuild.
	ErrDamaged = errors.New("the catalog is damaged")
	// ErrOrder: applying the events in this order would lose one. Nothing of the batch is applied.
	ErrOrder = errors.New("events out of order")
	// ErrCursor: the cursor does not come from Videos.
	ErrCursor = errors.New("invalid cursor")
	// ErrClosed: the catalog was closed meanwhile.
	ErrClosed = errors.New("the catalog is closed")
)

// remedy ends the messages of ErrSchema and ErrDamaged.
const remedy = "run `reelmill rebuild`: it makes the catalog anew from the event log"

// Catalog is the read model in one file. All methods may be called from many goroutines.
type Catalog struct {
	// Logger gets the events that Apply cannot decode; set it before the first Apply. Nil: nothing is logged.
	Logger *slog.Logger

	writer *pool // one connection, so one Apply at a time
	reader *pool
	path   string
	lock   *os.File // shared, so that nobody replaces the file

	mu      sync.Mutex
	damage  error                                    // the first that was met
	observe func(sequence uint64, s pipeline.Sample) // may be nil
	changed chan struct{}                            // closed and replaced when the sequence has moved
	closed  chan struct{}
	opened  bool
	once    sync.Once
}

// Open opens the catalog in the file path and migrates its schema. If the file is missing or empty, Open
// makes a new catalog at sequence 0, and missing folders, with mode 0600 and 0700. It returns ErrSchema or
// ErrDamaged for a file that must be rebuilt, and ErrInUse while somebody has claimed it. ctx limits Open
// only. The caller closes the catalog.
func Open(ctx context.Context, path string) (*Catalog, error) {
	c := &Catalog{changed: make(chan struct{}), closed: make(chan struct{})}
	if err := c.open(ctx, path); err != nil {
		return nil, errors.Join(fmt.Errorf("open catalog %s: %w", path, explain(err)), c.Close())
	}
	return c, nil
}

func (c *Catalog) open(ctx context.Context, path string) error {
	file, err := prepareFile(path)
	if err != nil {
		return err
	}
	c.path = file
	if err := c.claim(); err != nil {
		return err
	}
	if c.writer, err = newPool(file, true); err != nil {
		return err
	}
	if err := migrate(ctx, c.writer.db); err != nil {
		return err
	}
	if err := c.writer.prepare(ctx, writerStatements); err != nil {
		return err
	}
	if c.reader, err = newPool(file, false); err != nil {
		return err
	}
	err = c.reader.prepare(ctx, readerStatements)
	c.opened = err == nil
	return err
}

// claim locks the catalog, and compares it with its sums, if it has some.
func (c *Catalog) claim() (err error) {
	f, err := lockSums(c.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if c.lock, err = lockFile(c.path, false); err != nil {
		return err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if _, err := verify(c.path, raw, time.Now().Add(sumFor)); err != nil {
		return err
	}
	return clearSums(f)
}

// Close waits for running statements and closes the file. WaitFor then returns ErrClosed.
func (c *Catalog) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		err = errors.Join(c.reader.close(), c.writer.close()) // the last one checkpoints the WAL
		if c.lock != nil {
			if err == nil && c.opened {
				c.seal()
			}
			err = errors.Join(err, c.lock.Close())
		}
	})
	return err
}

// Sequence returns the sequence of the last applied event; 0 in a new file.
func (c *Catalog) Sequence(ctx context.Context) (uint64, error) {
	return c.number(ctx, sqlSequence)
}

// Poisoned returns how many events the catalog has ever skipped because it could not decode them.
func (c *Catalog) Poisoned(ctx context.Context) (uint64, error) {
	return c.number(ctx, sqlPoisoned)
}

func (c *Catalog) number(ctx context.Context, text string) (uint64, error) {
	var n int64
	if err := c.reader.stmt(text).QueryRowContext(ctx).Scan(&n); err != nil {
		return 0, fmt.Errorf("read state of the catalog: %w", c.explain(missing(err)))
	}
	return uint64(n), nil
}

// missing says that a row which every catalog has is gone.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("%w: its state is gone: %w; %s", ErrDamaged, err, remedy)
	}
	return err
}

// Changed returns a channel that is closed when an Apply of this process next moves the sequence.
func (c *Catalog) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *Catalog) broadcast() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed = make(chan struct{})
}

// WaitFor returns nil once the catalog has applied the event seq: later reads see it. It returns the error
// of ctx if that ends first, and ErrClosed after Close.
func (c *Catalog) WaitFor(ctx context.Context, seq uint64) error {
	for {
		changed := c.Changed() // first, so that no change is missed
		applied, err := c.Sequence(ctx)
		switch {
		case c.isClosed():
			return ErrClosed
		case err != nil:
			return err
		case applied >= seq:
			return nil
		}
		select {
		case <-changed:
		case <-c.closed:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for event %d, catalog is at %d: %w", seq, applied, ctx.Err())
		}
	}
}

func (c *Catalog) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}
