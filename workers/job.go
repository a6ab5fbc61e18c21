package workers

import (
	"context"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// Job is one attempt at one job, as a worker sees it.
type Job[P any] struct {
	Params P
	Attempt
}

// Attempt is the part of a Job that does not depend on the type of its parameters.
type Attempt struct {
	Task    pipeline.Task
	Token   uint64                     // names the outputs of this attempt; never reused
	Number  int                        // of the attempt, from 1
	Results map[string]pipeline.Result // of the jobs that this one comes after, by name
	Dir     string                     // scratch of this attempt alone; removed at its end
	Log     *slog.Logger

	files    Files
	progress func(pipeline.Progress)
}

// Files is how an attempt reads and stores objects.
type Files interface {
	// Local returns a path at which the object can be read: its own in a local store, else that of a copy below
	// dir.
	Local(ctx context.Context, key, dir string) (string, error)
	// Upload stores the file at path under key, and returns its size in bytes and SHA-256 in hex.
	Upload(ctx context.Context, key, path string) (size int64, sha256 string, err error)
}

// NewAttempt returns a with files, and with progress, which may be nil. The worker loop and the conformance
// kit call it.
func NewAttempt(a Attempt, files Files, progress func(pipeline.Progress)) Attempt {
	a.files, a.progress = files, progress
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	return a
}

// Media returns the facts of the source, and the zero Media in an inspect job.
func (a Attempt) Media() pipeline.Media {
	if a.Task.Media == nil {
		return pipeline.Media{}
	}
	return *a.Task.Media
}

// Nice returns the niceness of this attempt's encoders. It is 0 if playback waits for the job, which then
// runs at nearly full speed beside any number of others; low if somebody waits for it, as for the poster; and
// high for other jobs.
func (a Attempt) Nice() int {
	switch {
	case a.Task.Job.Opener:
		return 0
	case a.Task.Job.Priority == pipeline.High:
		return soonNice
	}
	return bulkNice
}

// Beside a process of niceness 0, a process of niceness 4 gets two fifths of its time, and one of 10 a tenth.
const (
	soonNice = 4
	bulkNice = 10
)

// Input returns the path of the source, read-only. Its name says nothing about its format.
func (a Attempt) Input(ctx context.Context) (string, error) {
	p, err := a.files.Local(ctx, a.Task.Source.Key, a.Dir)
	if err != nil {
		return "", unread("source", err)
	}
	return p, nil
}

// Asset returns the path, read-only, of another object of the upload, by the name that the parameters use.
func (a Attempt) Asset(ctx context.Context, name string) (string, error) {
	o, ok := a.Task.Assets[name]
	if !ok {
		return "", pipeline.Fail(pipeline.CodeParameters, "the upload has no asset %q", name)
	}
	p, err := a.files.Local(ctx, o.Key, a.Dir)
	if err != nil {
		return "", unread("asset "+name, err)
	}
	return p, nil
}

// unread is why an uploaded object cannot be used.
func unread(what string, err error) error {
	if pipeline.ProblemOf(err).Code == pipeline.CodeSourceDamaged {
		return err
	}
	return pipeline.Fail(pipeline.CodeFetchFailed, "read %s: %w", what, err)
}

// Fetch returns the path, read-only, of an output of an earlier job (see Results). The output must not have
// Segments.
func (a Attempt) Fetch(ctx context.Context, o pipeline.Output) (string, error) {
	p, err := a.files.Local(ctx, o.Key, a.Dir)
	if err != nil {
		return "", pipeline.Fail(pipeline.CodeFetchFailed, "read output %s: %w", o.Path, err)
	}
	return p, nil
}

// Publish stores a local file as an output, and returns o with its key, size, SHA-256 and content type.
// o.Path is the path at which the output is played, below the folder of the job, which Publish prepends. The
// worker must have verified the file. Nobody sees the output before the job is completed.
//
// With o.Segments, file and o.Path contain pipeline.SegmentVerb, and Publish stores the files numbered First
// to First+Count-1.
func (a Attempt) Publish(ctx context.Context, file string, o pipeline.Output) (pipeline.Output, error) {
	if folder := a.Task.Job.Folder; folder != "" {
		o.Path = folder + "/" + o.Path
	}
	o.Key = pipeline.AttemptPrefix(a.Task.Video, a.Task.Job.Name, a.Token) + o.Path
	if o.ContentType == "" {
		o.ContentType = storage.ContentType(o.Path)
	}
	if o.Segments == nil {
		size, sum, err := a.upload(ctx, o.Key, file)
		o.Size, o.SHA256 = size, sum
		return o, err
	}
	if strings.Count(o.Path, pipeline.SegmentVerb) != 1 || strings.Count(file, pipeline.SegmentVerb) != 1 {
		return o, fmt.Errorf("publish %s: segments need %s once in path and file",
			o.Path, pipeline.SegmentVerb)
	}
	var size atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(uploads)
	for n := o.Segments.First; n < o.Segments.First+o.Segments.Count; n++ {
		group.Go(func() error {
			stored, _, err := a.upload(ctx, SegmentName(o.Key, n), SegmentName(file, n))
			size.Add(stored)
			return err
		})
	}
	err := group.Wait()
	o.Size = size.Load()
	return o, err
}

// PublishSource stores a local file as the source of the video, which a fetch job makes and no other.
// filename is as the user called it, already clean. Nobody sees the source before the job is completed.
func (a Attempt) PublishSource(ctx context.Context, file, filename string) (pipeline.Object, error) {
	extension := strings.ToLower(path.Ext(filename))
	if storage.ContentType(extension) == storage.Unknown {
		extension = "" // nothing else of the user's becomes part of a key
	}
	o := pipeline.Object{
		Key:         pipeline.AttemptPrefix(a.Task.Video, a.Task.Job.Name, a.Token) + "source" + extension,
		ContentType: storage.ContentType(extension), Filename: filename,
	}
	var err error
	o.Size, o.SHA256, err = a.upload(ctx, o.Key, file)
	return o, err
}

// uploads is how many segments are stored at once: each waits for a disk or for the network.
const uploads = 8

func (a Attempt) upload(ctx context.Context, key, file string) (int64, string, error) {
	size, sum, err := a.files.Upload(ctx, key, file)
	if err != nil {
		return 0, "", pipeline.Fail(pipeline.CodeStorageFailed, "store %s: %w", path.Base(key), err)
	}
	if size == 0 {
		return 0, "", pipeline.Fail(pipeline.CodeVerification, "output %s is empty", path.Base(key))
	}
	return size, sum, nil
}

// Progress reports that fraction (0 to 1) of the attempt is done, at speed seconds of video per second (0:
// unknown). Call it as often as you like.
func (a Attempt) Progress(fraction, speed float64) {
	if a.progress != nil {
		a.progress(pipeline.Progress{
			Video: a.Task.Video, Job: a.Task.Job.Name, Attempt: a.Number, Fraction: fraction, Speed: speed,
		})
	}
}

// Transferred reports how many bytes of the source a fetch job has, of total (0: unknown). Call it as often
// as you like.
func (a Attempt) Transferred(bytes, total int64) {
	if a.progress == nil {
		return
	}
	p := pipeline.Progress{
		Video: a.Task.Video, Job: a.Task.Job.Name, Attempt: a.Number, Bytes: bytes, Total: total,
	}
	if total > 0 {
		p.Fraction = float64(bytes) / float64(total)
	}
	a.progress(p)
}

// Room returns why the scratch disk has no room for more bytes: storage.ErrFull. It evicts what may be
// evicted. A job that cannot say beforehand what it needs (Job.Scratch) asks from time to time.
func (a Attempt) Room(bytes int64) error {
	if disk, ok := a.files.(interface{ Room(bytes int64) error }); ok {
		return disk.Room(bytes)
	}
	return nil
}

// SegmentName replaces pipeline.SegmentVerb by number n.
func SegmentName(template string, n int) string {
	return strings.Replace(template, pipeline.SegmentVerb, fmt.Sprintf(pipeline.SegmentVerb, n), 1)
}
