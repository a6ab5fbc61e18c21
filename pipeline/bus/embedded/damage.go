package embedded

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DamageError says that a record of a stream's file cannot be read. Start returns the first one, and leaves
// the files as they are: the server itself would cut the file there, and lose every record that follows.
type DamageError struct {
	File     string // of the stream
	Stream   string
	Offset   int64  // of the first damaged byte range in the file
	Sequence uint64 // that the record seems to have; 0 when it does not say
	Subject  string // that the record seems to have
	Follow   int    // how many whole records follow in the file
}

// Error says where the damage is.
func (d *DamageError) Error() string {
	text := fmt.Sprintf("%s is damaged at byte %d: a message of the stream %s cannot be read",
		d.File, d.Offset, d.Stream)
	if d.Sequence > 0 && d.Subject != "" {
		text += fmt.Sprintf(" (it seems to be number %d, %s)", d.Sequence, d.Subject)
	}
	return text + fmt.Sprintf("; messages after it in this file: %d", d.Follow)
}

// damagedDir has copies of files, as they were before something was left out of them.
const damagedDir = "damaged"

// inspection reads the files of all streams in a folder before the server does.
type inspection struct {
	dir    string
	log    *slog.Logger
	mend   func(stream string) bool // leave damaged records out of the files of this stream
	mended []string                 // what was left out, in words

	began    time.Time
	slow     time.Duration // after which it logs what it has read
	told     bool          // it has
	messages int           // read, the whole ones
	bytes    int64         // read
}

// tell logs, once, how much was read if that takes long: nobody who waits for a start can see why.
func (i *inspection) tell() {
	if i.told || time.Since(i.began) < i.slow {
		return
	}
	i.told = true
	i.log.Info("the broker reads all messages of its files, such as the events, before it starts; a large log "+
		"takes minutes", "messages", i.messages, "bytes", i.bytes, "of", i.size())
}

// size returns how many bytes the files of all streams have.
func (i *inspection) size() (n int64) {
	files, _ := i.glob(blocks) // the pattern is good
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			n += info.Size()
		}
	}
	return n
}

// Mend leaves damaged records out of the files of all streams in dir, whose server must not run. It keeps
// each file as it was in dir/damaged, and returns in words what it left out. All other records stay.
func Mend(dir string, log *slog.Logger) (mended []string, err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	i := &inspection{
		dir: dir, log: log, began: time.Now(), slow: slowly,
		mend: func(string) bool { return true },
	}
	err = i.run(context.Background())
	return i.mended, err
}

// blocks are the files of messages in the folder of a stream.
const blocks = "msgs/*.blk"

// run inspects the files of all streams and then, if none is refused, those of their consumers. It stops when
// ctx ends: a large log takes minutes.
func (i *inspection) run(ctx context.Context) error {
	if err := i.each(ctx, blocks, i.file); err != nil {
		return err
	}
	return i.each(ctx, "obs/*/meta.inf", i.consumer)
}

// each calls do with each file of a stream's folder that matches a pattern, in order.
func (i *inspection) each(ctx context.Context, pattern string, do func(file string) error) error {
	files, err := i.glob(pattern)
	if err != nil {
		return fmt.Errorf("inspect the broker's files: %w", err)
	}
	slices.Sort(files)
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("inspect the broker's files: %w", err)
		}
		if err := do(file); err != nil {
			return err
		}
	}
	return nil
}

// glob returns the files of all streams' folders that match a pattern.
func (i *inspection) glob(pattern string) ([]string, error) {
	return filepath.Glob(filepath.Join(globQuoted(i.dir), "jetstream/*/streams/*", pattern))
}

// globQuoted returns a pattern that matches the path alone.
func globQuoted(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// file inspects one file. Where it ends within a record, the process or the machine died before the record
// was whole, so nobody got an answer for it. The server cuts it off.
func (i *inspection) file(file string) error {
	number, is := blockNumber(file)
	if !is {
		return nil // not a file that the server reads
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("inspect the broker's files: %w", err)
	}
	stream := filepath.Base(filepath.Dir(filepath.Dir(file)))
	b, err := readBlock(stream, number, raw)
	if err != nil {
		return err
	}
	i.messages, i.bytes = i.messages+len(b.good), i.bytes+int64(len(raw))
	i.tell()
	if len(b.bad) == 0 {
		return nil
	}
	if b.torn && len(b.bad) == 1 {
		return i.keepTorn(file, stream, raw, b)
	}
	if !i.mend(stream) {
		first := b.bad[0]
		sequence, subject := b.seems(first)
		return &DamageError{
			File: file, Stream: stream, Offset: int64(first.from), Sequence: sequence, Subject: subject,
			Follow: b.wholeAfter(first.from),
		}
	}
	return i.leaveOut(file, stream, raw, b)
}

// blockNumber returns the number in the name of a file of blocks.
func blockNumber(file string) (number uint32, is bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(file), ".blk"), 10, 32)
	return uint32(n), err == nil
}

// keepTorn keeps a file that ends within a record, and warns: if it did not break off but was cut, the
// message may have been acknowledged.
func (i *inspection) keepTorn(file, stream string, raw []byte, b *block) error {
	kept, err := i.keep(file, stream, raw)
	if err != nil {
		return err
	}
	sequence, subject := b.seems(b.bad[0])
	i.log.Warn("a file of the broker ends within a message, which is left out: the machine or the process died "+
		"while it was written, or the file was cut", "file", file, "stream", stream, "sequence", sequence,
		"subject", subject, "kept", kept)
	return nil
}

// leaveOut replaces a file by one without its damaged records.
func (i *inspection) leaveOut(file, stream string, raw []byte, b *block) error {
	kept, err := i.keep(file, stream, raw)
	if err != nil {
		return err
	}
	for _, s := range b.bad {
		sequence, subject := b.seems(s)
		told := fmt.Sprintf("%d bytes of the stream %s that cannot be read", s.to-s.from, stream)
		if sequence > 0 && subject != "" {
			told += fmt.Sprintf(" (they seem to begin with message %d, %s)", sequence, subject)
		}
		i.mended = append(i.mended, fmt.Sprintf("%s; the file as it was is %s", told, kept))
		i.log.Warn("leave out a damaged message of the broker", "file", file, "stream", stream, "byte", s.from,
			"bytes", s.to-s.from, "sequence", sequence, "subject", subject, "kept", kept)
	}
	if err := writeFile(file+".mended", b.without()); err != nil {
		return err
	}
	state := filepath.Join(filepath.Dir(file), "index.db") // what the server remembers of the files
	if err := os.Remove(state); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("mend the broker's files: %w", err)
	}
	if err := os.Rename(file+".mended", file); err != nil {
		return fmt.Errorf("mend the broker's files: %w", err)
	}
	return nil
}

// consumer moves the settings of a consumer away when they do not match their sum, which the server does not
// check: it would give out the wrong messages, or stop the whole stream. The bus makes the consumer anew, and
// then messages may come again.
func (i *inspection) consumer(file string) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("inspect the broker's files: %w", err)
	}
	sum, err := os.ReadFile(filepath.Join(filepath.Dir(file), "meta.sum"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("inspect the broker's files: %w", err)
	}
	dir := filepath.Dir(file)
	stream, name := filepath.Base(filepath.Dir(filepath.Dir(dir))), filepath.Base(dir)
	hash, err := newHash(stream + "/" + name)
	if err != nil {
		return err
	}
	_, _ = hash.Write(raw) // a hash never fails
	if hex.EncodeToString(hash.Sum(nil)) == string(sum) {
		return nil
	}
	kept, err := i.keep(file, stream+"-"+name, raw)
	if err != nil {
		return err
	}
	i.log.Warn("the settings of a consumer of the broker are damaged; it is made anew, and messages may come "+
		"again", "file", file, "stream", stream, "consumer", name, "kept", kept)
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("mend the broker's files: %w", err)
	}
	return nil
}

// keep copies a file into the folder of damaged files, unless the same content is there, and returns its
// path.
func (i *inspection) keep(file, stream string, raw []byte) (string, error) {
	dir := filepath.Join(i.dir, damagedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep a damaged file: %w", err)
	}
	for n := 1; ; n++ {
		kept := filepath.Join(dir, fmt.Sprintf("%s-%s.%d", stream, filepath.Base(file), n))
		old, err := os.ReadFile(kept)
		switch {
		case err == nil && string(old) == string(raw):
			return kept, nil
		case err == nil:
			continue
		case errors.Is(err, os.ErrNotExist):
			return kept, writeFile(kept, raw)
		}
		return "", fmt.Errorf("keep a damaged file: %w", err)
	}
}

// writeFile writes and syncs a file.
func writeFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("mend the broker's files: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("mend the broker's files: %w", err)
	}
	return nil
}
