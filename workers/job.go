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

// Attempt is the part of a Job that does not depend on the worker's type.
type Attempt struct {
	Task    pipeline.Task
	Token   uint64                     // fences what this attempt writes; never reused
	Number  int                        // of the attempt, from 1
	Results map[string]pipeline.Result // of the jobs this one is `after`, by name
	Dir     string                     // scratch of this attempt alone; removed when it ends
	Log     *slog.Logger

	files    Files
	progress func(pipeline.Progress)
}

// Files is what an attempt reads and writes objects through.
type Files interface {
	// Local returns a path where the object can be read: its place in a local store, or a copy below dir.
	Local(ctx context.Context, key, dir string) (string, error)
	// Upload stores the file at path under key, and returns its size in bytes and SHA-256 in hex.
	Upload(ctx context.Context, key, path string) (size int64, sha256 string, err error)
}

// NewAttempt returns an attempt on files; progress may be nil. The worker loop and the conformance kit make
// them.
func NewAttempt(a Attempt, files Files, progress func(pipeline.Progress)) Attempt {
	a.files, a.progress = files, progress
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	return a
}

// Media returns the facts of the source; the zero Media in an inspect job.
func (a Attempt) Media() pipeline.Media {
	if a.Task.Media == nil {
		return pipeline.Media{}
	}
	return *a.Task.Media
}

// Nice is how much an encoder of this attempt is to yield to others on the machine: not at all when playback
// waits for the job, so that such a job is done at full speed beside any number of others; a little when
// somebody waits for it, as for the poster; and much for all that has time.
func (a Attempt) Nice() int {
	switch {
	case a.Task.Job.Opener:
		return 0
	case a.Task.Job.Priority == pipeline.High:
		return soonNice
	}
	return bulkNice
}

// Beside a process that does not yield, one of niceness 4 has two fifths of its time, and one of 10 a tenth.
const (
	soonNice = 4
	bulkNice = 10
)

// Input returns the path of the source, to read only. Its name says nothing of its format.
func (a Attempt) Input(ctx context.Context) (string, error) {
	p, err := a.files.Local(ctx, a.Task.Source.Key, a.Dir)
	if err != nil {
		return "", pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	}
	return p, nil
}

// Asset returns the path of a further object of the upload, by the name that the parameters use, to read
// only.
func (a Attempt) Asset(ctx context.Context, name string) (string, error) {
	o, ok := a.Task.Assets[name]
	if !ok {
		return "", pipeline.Fail(pipeline.CodeParameters, "the upload has no asset %q", name)
	}
	p, err := a.files.Local(ctx, o.Key, a.Dir)
	if err != nil {
		return "", pipeline.Fail(pipeline.CodeFetchFailed, "read asset %s: %w", name, err)
	}
	return p, nil
}

// Fetch returns the path of an output of an earlier job (see Results), to read only. Not for outputs with
// Segments.
func (a Attempt) Fetch(ctx context.Context, o pipeline.Output) (string, error) {
	p, err := a.files.Local(ctx, o.Key, a.Dir)
	if err != nil {
		return "", pipeline.Fail(pipeline.CodeFetchFailed, "read output %s: %w", o.Path, err)
	}
	return p, nil
}

// Publish stores a local file as an output and returns it whole: o with key, size, SHA-256 and content type.
// o.Path is where it is played from. The worker has verified the file. Nobody sees it before the job is
// completed.
//
// With o.Segments, file and o.Path hold pipeline.SegmentVerb, and the numbered files First to First+Count-1
// are stored.
func (a Attempt) Publish(ctx context.Context, file string, o pipeline.Output) (pipeline.Output, error) {
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
		return o, fmt.Errorf("publish %s: a run of segments needs %s in path and file",
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

// uploads is how many segments are stored at once: each waits for a disk or for a round trip.
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

// Progress says that the attempt is done to fraction (0 to 1) at speed seconds of video per second (0:
// unknown). It may be called as often as one likes.
func (a Attempt) Progress(fraction, speed float64) {
	if a.progress != nil {
		a.progress(pipeline.Progress{
			Video: a.Task.Video, Job: a.Task.Job.Name, Attempt: a.Number, Fraction: fraction, Speed: speed,
		})
	}
}

// SegmentName puts number n in the place of pipeline.SegmentVerb.
func SegmentName(template string, n int) string {
	return strings.Replace(template, pipeline.SegmentVerb, fmt.Sprintf(pipeline.SegmentVerb, n), 1)
}
