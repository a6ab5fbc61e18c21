package all

import (
	"context"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/audio"
	"github.com/reelmill/reelmill/workers/inspect"
	"github.com/reelmill/reelmill/workers/internal/ffmpeg"
	"github.com/reelmill/reelmill/workers/thumbnail"
	"github.com/reelmill/reelmill/workers/transcode"
	"github.com/reelmill/reelmill/workers/watermark"
	"github.com/reelmill/reelmill/workers/webhook"
)

// Config is what workers cannot know by themselves. The zero Config is usable.
type Config struct {
	// FFmpeg and FFprobe are paths of the programs; looked up in PATH when empty.
	FFmpeg, FFprobe string
	Threads         int // of each encoder; 0: the encoders' own default
	Webhook         webhook.Config
	Limits          inspect.Limits // of what is accepted; zero fields have their defaults
}

// New returns a registry with every worker. It fails when ffmpeg or ffprobe is missing; what else a machine
// lacks, Registry.CheckMachine tells.
func New(c Config) (*workers.Registry, error) {
	tools, err := ffmpeg.Find(c.FFmpeg, c.FFprobe)
	if err != nil {
		return nil, err
	}
	tools.Threads = c.Threads
	r := workers.NewRegistry()
	workers.Add(r, "audio", audio.New(tools))
	workers.Add(r, "inspect", inspect.New(tools, c.Limits))
	workers.Add(r, "thumbnail", thumbnail.New(tools))
	workers.Add(r, "transcode", transcode.New(tools))
	workers.Add(r, "watermark", watermark.New(tools))
	workers.Add(r, pipeline.NotifyWorker, webhook.New(c.Webhook))
	return r, nil
}

// Versions returns the versions of the programs that workers run, by name; a program that does not answer
// is left out.
func Versions(ctx context.Context) map[string]string {
	versions := map[string]string{}
	if v, err := (ffmpeg.Tools{}).Version(ctx); err == nil {
		versions["ffmpeg"] = v
	}
	return versions
}
