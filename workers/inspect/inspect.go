package inspect

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/internal/encode"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
)

// Params is empty: the server decides what is allowed, not the pipeline.
type Params struct{}

// Worker is the worker type "inspect".
type Worker struct {
	tools    ffmpeg.Tools
	limits   Limits
	patience time.Duration // CPU time of each ffmpeg, for a small file
}

// patience is the CPU time that a run of ffmpeg may take, beside that for the bytes of a large file.
const patience = 30 * time.Second

// New returns the worker. The zero Limits are the defaults.
func New(tools ffmpeg.Tools, limits Limits) *Worker {
	return &Worker{tools: tools, limits: limits.withDefaults(), patience: patience}
}

// Check implements workers.Checker.
func (w *Worker) Check(ctx context.Context) error {
	_, err := w.tools.Version(ctx)
	return err
}

// Plan implements workers.Worker with one job. Pipelines do not name this worker; the coordinator makes its
// task.
func (w *Worker) Plan(Params, pipeline.Media) ([]pipeline.Job, error) {
	return []pipeline.Job{{Priority: pipeline.High}}, nil
}

// Work implements workers.Worker. The result has the findings and no outputs.
func (w *Worker) Work(ctx context.Context, job workers.Job[Params]) (pipeline.Result, error) {
	path, err := job.Input(ctx)
	if err != nil {
		return pipeline.Result{}, err
	}
	media, err := w.look(ctx, path, job.Dir)
	if ctx.Err() != nil {
		return pipeline.Result{}, context.Cause(ctx) // not the file's fault
	}
	finding := pipeline.Inspection{Verdict: pipeline.VerdictAccept, Media: media}
	if err != nil {
		if finding.Reason = refusal(err); finding.Reason == nil {
			return pipeline.Result{}, encode.Fault(ctx, err)
		}
		finding.Verdict = pipeline.VerdictReject
	}
	return pipeline.Result{Inspection: &finding}, nil
}

// look returns the facts, or the reason to refuse the file with the facts found so far.
func (w *Worker) look(ctx context.Context, path, dir string) (*pipeline.Media, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	}
	if err := w.limits.checkSize(info.Size()); err != nil {
		return nil, err
	}
	head, err := readHead(path)
	if err != nil {
		return nil, pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	}
	demuxer, known := ffmpeg.Sniff(head)
	if !known {
		return nil, foreign(head)
	}
	if err := checkEncrypted(path, info.Size(), demuxer, head); err != nil {
		return nil, err
	}
	probe, late, err := w.probe(ctx, path, demuxer)
	if err != nil {
		return nil, err
	}
	if err := w.limits.checkProbe(probe); err != nil {
		return nil, err
	}
	m := measurement{
		tools: w.tools, path: path, dir: dir, demuxer: demuxer, probe: probe, late: late, size: info.Size(),
		patience: w.patience,
	}
	if err := m.choose(ctx, info.Size()); err != nil {
		return nil, err
	}
	if demuxer == "mpegts" {
		if err := scrambledTrack(probe, m.stream, head); err != nil {
			return nil, err
		}
	}
	media := facts(probe, m.stream, demuxer, info.Size())
	media.Late = late
	media.Warnings = append(media.Warnings, m.unused()...)
	media.Video.Alpha = media.Video.Alpha || alphaMode(m.stream, head)
	if err := w.limits.checkVideo(m.stream, probe.Oversized); err != nil {
		return media, err
	}
	m.media = media
	if demuxer == windowsMedia {
		m.note(cut(head, info.Size()))
	}
	if err := m.run(ctx); err != nil {
		return media, err
	}
	return media, w.limits.checkMedia(media, m.frames, m.fps)
}

func checkEncrypted(path string, size int64, demuxer string, head []byte) error {
	file, err := os.Open(path)
	if err != nil {
		return pipeline.Fail(pipeline.CodeFetchFailed, "read source: %w", err)
	}
	defer file.Close()
	return encrypted(file, size, demuxer, head)
}

// headSize is how much of a file this package reads itself: the magic bytes, and the track headers of
// Matroska.
const headSize = 256 << 10

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, headSize))
}

// otherMedia are the first bytes of media in containers that are not allowed for untrusted input.
var otherMedia = []struct{ magic, name string }{
	{".RMF", "RealMedia"}, {"DKIF", "IVF"},
	{"nut/multimedia container", "NUT"}, {"YUV4MPEG2", "YUV4MPEG"},
	{"\x00\x00\x01\xb3", "an MPEG elementary stream"},
	{"\x00\x00\x00\x01", "an H.264 or HEVC elementary stream"},
	{"\x00\x00\x01\x67", "an H.264 elementary stream"},
	{"DVDVIDEO", "a DVD index"},
}

// otherAudio are the first bytes of files that can only have audio.
var otherAudio = []struct{ magic, name string }{
	{"#!AMR", "AMR"}, {"caff", "Core Audio"}, {"FORM", "AIFF"}, {"MThd", "MIDI"},
}

// foreign says why a file without a known container is refused.
func foreign(head []byte) error {
	begin := string(head[:min(len(head), 32)])
	for _, m := range otherAudio {
		if strings.HasPrefix(begin, m.magic) {
			return pipeline.Fail(pipeline.CodeNoVideoStream, "the file is audio (%s)", m.name)
		}
	}
	for _, m := range otherMedia {
		if strings.HasPrefix(begin, m.magic) {
			return pipeline.Fail(pipeline.CodeContainer, "the file is %s", m.name)
		}
	}
	if len(head) >= 12 && string(head[4:8]) == "ftyp" {
		return pipeline.Fail(pipeline.CodeNotVideo, "the file is an image (%s)", printable(string(head[8:12])))
	}
	return pipeline.Fail(pipeline.CodeNotVideo, "the first bytes are not those of a video container")
}

// refusal returns the reason of a rejection for an error that is the file's fault; nil for all others.
func refusal(err error) *pipeline.Problem {
	var coded *pipeline.Error
	var run *ffmpeg.Error
	switch {
	case errors.As(err, &coded):
	case errors.As(err, &run):
		coded = blame(run)
	}
	if coded == nil || pipeline.Describe(coded.Code).Class != pipeline.Input {
		return nil
	}
	problem := pipeline.ProblemOf(coded)
	problem.Step = "inspect"
	return problem
}

// unfiltered reports whether ffmpeg decoded something that not even its filters take, such as a picture whose
// pixels have a negative aspect. Inspection adds no filter that refuses anything valid.
func unfiltered(words string) bool {
	return strings.Contains(words, "error reinitializing filters") ||
		strings.Contains(words, "failed to inject frame into filter network")
}

// blame returns the reason in a failure of ffmpeg or ffprobe, or nil if it is not about the file.
func blame(e *ffmpeg.Error) *pipeline.Error {
	refused := &pipeline.Error{Code: pipeline.CodeMalformed, Detail: e.Error(), Stderr: e.Tail, Err: e}
	words := strings.ToLower(e.Tail)
	switch {
	case e.Unwritten(), e.NotLoaded():
		return nil
	case strings.Contains(words, "exceeds specified max pixel count"):
		refused.Code, refused.Detail = pipeline.CodeLimits, "the frames have more pixels than are accepted"
	case strings.Contains(words, "number of streams exceeds max_streams"):
		refused.Code, refused.Detail = pipeline.CodeLimits, "the file has more streams than are accepted"
	case strings.Contains(words, "too many channels"):
		refused.Code, refused.Detail = pipeline.CodeLimits, "an audio track has more channels than are accepted"
	case e.NoMemory() && ffmpeg.MemoryIsLimited():
		return nil
	case e.NoMemory():
		refused.Code = pipeline.CodeLimits
		refused.Detail = "reading the file needs more memory than one file may have"
	case strings.Contains(words, "format not on whitelist"):
		refused.Code = pipeline.CodeContainer
	case strings.Contains(words, "not on whitelist"), strings.Contains(words, "unknown decoder"),
		strings.Contains(words, "not found for input stream"):
		refused.Code = pipeline.CodeCodec
	case e.Kind == ffmpeg.KindExit && e.BadInput(), e.Kind == ffmpeg.KindOutput:
	case e.Kind == ffmpeg.KindExit && unfiltered(words):
		refused.Detail = "the pictures or sounds that the file decodes to are not valid"
	case e.Kind == ffmpeg.KindTimeout && e.Signal == syscall.SIGXCPU:
		refused.Detail = "reading the file takes too much time"
	case e.Kind == ffmpeg.KindSignal && e.Signal != syscall.SIGKILL && e.Signal != syscall.SIGTERM:
		refused.Detail = "the file crashes the reader"
	case e.Kind == ffmpeg.KindExit && e.Program == "ffprobe":
	default:
		return nil
	}
	return refused
}
