package all

import (
	"context"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/audio"
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
	Cage            *Cage          // in which programs run; nil: they run without one
	Limits          inspect.Limits // of the sources to accept; zero fields have their defaults
}

// New returns a registry with every worker. It fails if ffmpeg or ffprobe is missing. Registry.CheckMachine
// reports what else is missing on the machine.
func New(c Config) (*workers.Registry, error) {
	tools, err := ffmpeg.Find(c.FFmpeg, c.FFprobe)
	if err != nil {
		return nil, err
	}
	tools.Threads, tools.Cage = c.Threads, c.Cage
	r := workers.NewRegistry()
	workers.Add(r, "audio", audio.New(tools))
	workers.Add(r, "inspect", inspect.New(tools, c.Limits))
	workers.Add(r, "packager", packager.Worker{})
	workers.Add(r, "thumbnail", thumbnail.New(tools))
	workers.Add(r, "transcode", transcode.New(tools))
	workers.Add(r, "watermark", watermark.New(tools))
	workers.Add(r, pipeline.NotifyWorker, webhook.New(c.Webhook))
	return r, nil
}

// Versions returns the versions of the programs that workers run, by name, without those that do not answer.
func Versions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	if v, err := (ffmpeg.Tools{}).Version(ctx); err == nil {
		versions["ffmpeg"] = v
	}
	return versions
}
