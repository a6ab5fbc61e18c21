package audio

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/manifest"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/internal/hls"
)

// File names.
const (
	joinedFile  = "joined.mp4"
	progressive = "audio.m4a"
)

// progressive makes audio.m4a from the segments of a whole track, which are still on the scratch disk.
func (r run) progressive(ctx context.Context, m made) (pipeline.Output, error) {
	files := []string{filepath.Join(m.dir, manifest.InitName)}
	for n := range m.track.Segments {
		files = append(files, filepath.Join(m.dir, workers.SegmentName(manifest.SegmentName, m.track.First+n)))
	}
	if err := hls.Join(r.file(joinedFile), files...); err != nil {
		return pipeline.Output{}, err
	}
	return r.remux(ctx)
}

// collect makes audio.m4a from the segments of the earlier jobs.
func (r run) collect(ctx context.Context) (pipeline.Result, error) {
	head, runs, err := r.runs()
	if err != nil {
		return pipeline.Result{}, err
	}
	out, err := os.Create(r.file(joinedFile))
	if err != nil {
		return pipeline.Result{}, err
	}
	err = r.fetch(ctx, out, head)
	for _, o := range runs {
		for n := o.Segments.First; err == nil && n < o.Segments.First+o.Segments.Count; n++ {
			one := o
			one.Path, one.Key, one.Segments = workers.SegmentName(o.Path, n), workers.SegmentName(o.Key, n), nil
			err = r.fetch(ctx, out, one)
		}
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return pipeline.Result{}, err
	}
	file, err := r.remux(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	return pipeline.Result{Outputs: []pipeline.Output{file}}, nil
}

// runs returns the header and the runs of segments of the rendition, in order. It fails if a part is missing.
// Another step may have made a rendition of the same name, in another folder.
func (r run) runs() (head pipeline.Output, runs []pipeline.Output, err error) {
	folder := path.Join(r.job.Task.Job.Folder, r.part.Name)
	for _, result := range r.job.Results {
		for _, o := range result.Outputs {
			switch {
			case path.Dir(o.Path) != folder:
			case o.Kind == pipeline.KindInit:
				head = o
			case o.Kind == pipeline.KindAudioRendition && o.Segments != nil:
				runs = append(runs, o)
			}
		}
	}
	slices.SortFunc(runs, func(a, b pipeline.Output) int {
		return cmp.Compare(a.Segments.First, b.Segments.First)
	})
	next, last := 0, false
	for _, o := range runs {
		if o.Segments.First != next || last || o.Segments.Header != runs[0].Segments.Header {
			return head, nil, pipeline.Fail(pipeline.CodeVerification,
				"segment %[2]d of %[1]s does not continue the run before it", r.part.Name, o.Segments.First)
		}
		next, last = next+o.Segments.Count, o.Segments.Last
	}
	if head.Key == "" || !last {
		return head, nil, pipeline.Fail(pipeline.CodeVerification, "segments of %s are missing", r.part.Name)
	}
	return head, runs, nil
}

func (r run) fetch(ctx context.Context, out io.Writer, o pipeline.Output) error {
	file, err := r.job.Fetch(ctx, o)
	if err != nil {
		return err
	}
	return hls.Append(out, file)
}

// remux converts the joined segments to a progressive file, verifies it and stores it. Like the segments, it
// begins at 0 without an edit list.
func (r run) remux(ctx context.Context) (pipeline.Output, error) {
	step := encode.Step{Tools: r.tools, Dir: r.job.Dir, Nice: r.job.Nice()}
	err := step.Run(ctx, ffmpeg.Command{
		Inputs: []ffmpeg.Input{{Path: r.file(joinedFile), Demuxer: "mov"}},
		Outputs: []ffmpeg.Output{{
			Path: r.file(progressive), Format: "ipod", Maps: []string{"0:0"},
			Options: []ffmpeg.Option{option("c:a", "copy"), option("movflags", "+faststart")},
		}},
	})
	if err != nil {
		return pipeline.Output{}, err
	}
	r.job.Progress(0.95, 0)
	probe, err := r.tools.VerifyFile(ctx, r.file(progressive), r.expect())
	if err != nil {
		return pipeline.Output{}, err
	}
	return r.job.Publish(ctx, r.file(progressive), pipeline.Output{
		Name: "audio", Kind: pipeline.KindAudio, Path: progressive, Duration: probe.Format.Duration,
		Codecs: codecs, AverageBandwidth: probe.Format.BitRate, Language: r.part.Language,
		Channels: probe.Audios()[0].Channels,
	})
}
