package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/pipeline/webhooks"
	"github.com/reelmill/reelmill/workers/webhook"
)

// listenCommand forwards events to a server on this machine, for those who write a receiver.
type listenCommand struct {
	serverFlags
	ForwardTo  webURL      `help:"URL that gets each event, such as http://localhost:3000/hooks." required:"" secret:"address"`
	Events     []string    `help:"Types of events, with commas between them; video.*, job.* and * are patterns." default:"video.*"`
	After      *uint64     `help:"Go on after this sequence of the log. Default: only what comes from now on."`
	Secret     secret.Text `name:"listen-secret" env:"REELMILL_LISTEN_SECRET" hidden:"" secret:"value"`
	SecretFile string      `name:"listen-secret-file" help:"${listen_secret_help}" env:"REELMILL_LISTEN_SECRET_FILE" placeholder:"FILE"`
}

// listenEvery is the time between two looks at the log.
const listenEvery = 500 * time.Millisecond

// forwarded is what is printed for each event.
type forwarded struct {
	Event  string `json:"event_id"`
	Type   string `json:"type"`
	Video  string `json:"video_id"`
	Status int    `json:"status"`
	Millis int64  `json:"duration_ms"`
	Error  string `json:"error,omitempty"`
}

// Validate is called by kong.
func (c listenCommand) Validate() error {
	if err := webhooks.CheckEvents(c.Events); err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	return nil
}

// Run forwards events until it is interrupted. It survives restarts of the server, and loses no event.
func (c listenCommand) Run(ctx context.Context, s streams) error {
	to := webhooks.Endpoint{Kind: webhooks.Web, URL: string(c.ForwardTo), Enabled: true, Events: c.Events}
	signing := c.Secret
	if signing.Empty() {
		signing = secret.New(webhooks.NewSecret())
		human.Fprintln(s.err, "The receiver checks signatures with this secret:", signing.Reveal())
	} else if err := webhook.CheckSecret(signing); err != nil {
		return usageError{err}
	}
	to.Secrets = []webhooks.Secret{{Value: signing.Reveal()}}
	l := &listener{
		command: c, streams: s, client: c.client(), to: to, sent: map[string]bool{},
		poster: webhook.NewPoster(webhook.PosterConfig{AllowPrivate: true}),
	}
	at, err := l.begin(ctx)
	if err != nil {
		return err
	}
	human.Fprintf(s.err, "Forward events after %d to %s. Ctrl-C ends.\n", at, c.ForwardTo)
	return l.follow(ctx, at)
}

// listener is one run of listen.
type listener struct {
	command listenCommand
	streams streams
	client  *client.Client
	to      webhooks.Endpoint
	poster  *webhook.Poster
	sent    map[string]bool // ids of the events of the page under way that are forwarded
}

// begin returns the sequence after which events are forwarded.
func (l *listener) begin(ctx context.Context) (uint64, error) {
	if l.command.After != nil {
		return *l.command.After, nil
	}
	for at := uint64(0); ; { // few events are of this type, so a page leads far
		_, position, more, err := l.client.HistoryPage(ctx, client.EventFilter{
			After: at, Types: []pipeline.EventType{pipeline.VideoPurged},
		})
		if err != nil || !more {
			return position, err
		}
		at = position
	}
}

// follow forwards the events after a sequence until ctx ends. What the server refuses ends it; a server that
// does not answer is asked again.
func (l *listener) follow(ctx context.Context, at uint64) error {
	for lost := false; ctx.Err() == nil; {
		next, more, err := l.page(ctx, at)
		at = next
		refusal, refused := errors.AsType[*client.Error](err)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case refused && refusal.Status < 500:
			return err
		case err != nil && !lost:
			human.Fprintf(l.streams.err, "The server does not answer; go on after %d when it does. (%v)\n", at, err)
		case err == nil && lost:
			human.Fprintln(l.streams.err, "The server answers again.")
		}
		if lost = err != nil; lost || !more {
			pause.For(ctx, listenEvery)
		}
	}
	return ctx.Err()
}

// page forwards a page of events, and returns the sequence up to which all are forwarded.
func (l *listener) page(ctx context.Context, at uint64) (next uint64, more bool, err error) {
	events, position, more, err := l.client.HistoryPage(ctx, client.EventFilter{After: at})
	if err != nil {
		return at, false, err
	}
	for _, e := range events {
		if l.sent[e.ID] {
			continue
		}
		if err := l.forward(ctx, e); err != nil {
			return at, false, err
		}
		l.sent[e.ID] = true
	}
	clear(l.sent)
	return position, more, nil
}

// forward sends an event if it is one of those asked for, and prints the answer.
func (l *listener) forward(ctx context.Context, e pipeline.Event) error {
	if !l.to.Wants(string(e.Type)) {
		return nil
	}
	project, video, job, err := pipeline.Address(e.Subject)
	if err != nil {
		return nil //nolint:nilerr // no endpoint gets it either
	}
	data, err := l.data(ctx, e, project, video, job)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	body, err := json.Marshal(pipeline.Report{Type: e.Type, Timestamp: e.Time, Data: raw})
	if err != nil {
		return err
	}
	began := time.Now()
	o := l.poster.Send(ctx, l.to, webhooks.Task{Event: e.ID, Type: string(e.Type), Body: body})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	told := forwarded{e.ID, string(e.Type), video, o.Status, time.Since(began).Milliseconds(), o.Error}
	return l.command.print(l.streams, told, func(w io.Writer) {
		answer := strings.TrimSpace(fmt.Sprintf("%d %s", told.Status, told.Error))
		human.Fprintf(w, "%s\t%s\t%s\t-> %s\t(%d ms)\n",
			pipeline.Clock(e.Time), told.Type, video, answer, told.Millis)
	})
}

// data returns the data of a delivery: the video or job as it is now, or the id alone if it is gone.
func (l *listener) data(ctx context.Context, e pipeline.Event, project, video, job string) (any, error) {
	gone := pipeline.Gone{ID: video, Project: project}
	if e.Type == pipeline.VideoDeleted || e.Type == pipeline.VideoPurged {
		return gone, nil
	}
	if job == "" {
		v, err := l.client.Video(ctx, video)
		if errors.Is(err, pipeline.ErrNotFound) {
			return gone, nil
		}
		return v, err
	}
	jobs, err := l.client.Jobs(ctx, video)
	if errors.Is(err, pipeline.ErrNotFound) {
		return gone, nil
	}
	for _, j := range jobs {
		if j.Name == job {
			return j, err
		}
	}
	return gone, err
}
