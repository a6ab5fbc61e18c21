package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

// listenAgain is the time between two tries to reach a server that does not answer.
const listenAgain = 500 * time.Millisecond

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
	place   uint64          // up to which all events are forwarded
	sent    map[string]bool // ids of those after place that are forwarded
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
// does not answer, or has too much to do, is asked again.
func (l *listener) follow(ctx context.Context, at uint64) error {
	place := client.EventFilter{After: at}
	for lost := false; ; lost = true {
		err := l.client.FollowFrom(ctx, &place, func(e pipeline.Event) error {
			if lost {
				human.Fprintln(l.streams.err, "The server answers again.")
				lost = false
			}
			return l.once(ctx, e, place.After)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refusal, refused := errors.AsType[*client.Error](err)
		if refused && refusal.Status < 500 && refusal.Status != http.StatusTooManyRequests {
			return err
		}
		again := listenAgain
		if refused {
			again = max(again, refusal.RetryAfter)
		}
		if !lost {
			human.Fprintf(l.streams.err, "The server does not answer; go on after %d when it does. (%v)\n",
				place.After, err)
		}
		pause.For(ctx, again)
	}
}

// once forwards an event after a place, unless it was forwarded before the server was lost.
func (l *listener) once(ctx context.Context, e pipeline.Event, place uint64) error {
	if place != l.place {
		l.place = place
		clear(l.sent)
	}
	if l.sent[e.ID] {
		return nil
	}
	if err := l.forward(ctx, e); err != nil {
		return err
	}
	l.sent[e.ID] = true
	return nil
}

// forward sends an event if it is one of those asked for, and prints the answer.
func (l *listener) forward(ctx context.Context, e pipeline.Event) error {
	if !l.to.Wants(string(e.Type)) {
		return nil
	}
	_, video, _, err := pipeline.Address(e.Subject)
	if err != nil {
		return nil //nolint:nilerr // no endpoint gets it either
	}
	report, err := l.report(ctx, e, video)
	if err != nil {
		return err
	}
	body, err := json.Marshal(report)
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

// report returns what an endpoint gets about an event: the video or job just after it, or the id alone if the
// video is deleted since.
func (l *listener) report(ctx context.Context, e pipeline.Event, video string) (pipeline.Report, error) {
	gone := pipeline.Event{Type: pipeline.VideoDeleted, ID: e.ID, Subject: e.Subject, Time: e.Time}
	now, err := l.client.Video(ctx, video)
	if errors.Is(err, pipeline.ErrNotFound) {
		r, err := pipeline.ReportOf(ctx, past{}, gone, "")
		r.Type = e.Type
		return r, err
	}
	if err != nil {
		return pipeline.Report{}, err
	}
	var before past
	for event, err := range l.client.EventLog(ctx, video) {
		if err != nil {
			return pipeline.Report{}, err
		}
		event.Sequence = uint64(len(before) + 1) // the list has none, but it has the order
		if before = append(before, event); event.ID == e.ID {
			break
		}
	}
	e.Sequence = uint64(len(before))
	public := strings.TrimSuffix(now.PlayURL, pipeline.PlayURL("", video, now.Manifest))
	return pipeline.ReportOf(ctx, before, e, public)
}

// past is the log of a video up to an event.
type past []pipeline.Event

// Append implements pipeline.Log. Nothing is appended.
func (p past) Append(context.Context, pipeline.Event, uint64) (uint64, error) {
	return 0, errors.New("the past cannot be changed")
}

// Last implements pipeline.Log.
func (p past) Last(_ context.Context, subjects ...string) ([]pipeline.Event, error) {
	last := make([]pipeline.Event, len(subjects))
	for i, subject := range subjects {
		for _, e := range p {
			if e.Subject == subject {
				last[i] = e
			}
		}
	}
	return last, nil
}
