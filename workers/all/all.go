package all

import (
	"context"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/audio"
	"github.com/reelmill/reelmill/workers/fetch"
	"github.com/reelmill/reelmill/workers/inspect"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/packager"
	"github.com/reelmill/reelmill/workers/thumbnail"
	"github.com/reelmill/reelmill/workers/transcode"
	"github.com/reelmill/reelmill/workers/watermark"
	"github.com/reelmill/reelmill/workers/webhook"
)

// Config holds what workers need from the program. The zero Config is usable.
type Config struct {
	// FFmpeg and FFprobe are the paths of the programs. Default: found in PATH.
	FFmpeg, FFprobe string
	Threads         int // of each encoder; 0: the encoders' own default
	Webhook         webhook.Config
	Fetch           fetch.Config
	Cage            *Cage          // in which programs run; nil: they run without one
	Limits          inspect.Limits // of the sources to accept; zero fields have their defaults

	tools *ffmpeg.Tools // nil: not found yet
}

// Find returns c with its programs found. All that is called with the result asks ffmpeg only once what
// version it is. Without Find it works as well, and asks again. It fails as New does.
func Find(c Config) (Config, error) {
	tools, err := c.find()
	if err != nil {
		return c, err
	}
	c.tools = &tools
	return c, nil
}

// find returns the programs of c.
func (c Config) find() (ffmpeg.Tools, error) {
	if c.tools != nil {
		return *c.tools, nil
	}
	return ffmpeg.Find(c.FFmpeg, c.FFprobe)
}

// New returns a registry with every worker. It fails if ffmpeg or ffprobe is missing. Registry.CheckMachine
// reports what else is missing on the machine.
func New(c Config) (*workers.Registry, error) {
	tools, err := c.find()
	if err != nil {
		return nil, err
	}
	tools.Threads, tools.Cage = c.Threads, c.Cage
	r := workers.NewRegistry()
	workers.Add(r, "audio", audio.New(tools))
	workers.Add(r, pipeline.FetchStep, fetch.New(c.Fetch))
	workers.Add(r, "inspect", inspect.New(tools, c.Limits))
	workers.Add(r, "packager", packager.Worker{})
	workers.Add(r, "thumbnail", thumbnail.New(tools))
	workers.Add(r, "transcode", transcode.New(tools))
	workers.Add(r, "watermark", watermark.New(tools))
	workers.Add(r, pipeline.NotifyWorker, webhook.New(c.Webhook))
	return r, nil
}

// NewStills returns what makes still images of objects of store, with the programs and the cage of c. dir is
// a folder for scratch files. It fails as New does.
func NewStills(c Config, store storage.Store, dir string) (*thumbnail.Stills, error) {
	tools, err := c.find()
	if err != nil {
		return nil, err
	}
	tools.Threads, tools.Cage = c.Threads, c.Cage
	return thumbnail.NewStills(tools, store, dir), nil
}

// OldestFFmpeg is the oldest release of ffmpeg that workers support, as major.minor.
const OldestFFmpeg = ffmpeg.Oldest

// Program is one that workers run.
type Program struct {
	Name    string // "ffmpeg"
	Version string // the word that it prints, such as "5.1.9-0+deb12u1"
	Old     bool   // older than workers support: people must be warned
	Note    string // what is the matter with the version; empty: nothing
	Remedy  string // what to do about it; empty: nothing needs to be done
}

// Programs returns the programs that workers of c run, without those that do not answer.
func Programs(ctx context.Context, c Config) []Program {
	tools, err := c.find()
	if err != nil {
		return nil
	}
	tools.Cage = c.Cage
	version, err := tools.Version(ctx)
	if err != nil {
		return nil
	}
	age := ffmpeg.AgeOf(version)
	return []Program{{Name: "ffmpeg", Version: version, Old: age.Old, Note: age.Text, Remedy: age.Remedy}}
}
