package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// video is one upload, and what should become of it.
type video struct {
	key      string
	pipeline string
	way      string // how it is uploaded: form, tus or content; empty: form
	file     string
	gone     bool // the receiver answers 410
	cancel   time.Duration
	delete   time.Duration
	redrive  bool // a job that failed for good is retried, and fails again
	expect   pipeline.VideoState

	// The answers. They no longer change once the load has stopped.
	id       string // of the 201
	accepted time.Time
	others   []string // ids of further 201s for the same key: a violation
	deleted  bool     // the deletion was confirmed
	redriven bool     // the retry of a job that failed for good was confirmed
}

// load uploads videos as clients would, and cancels and deletes some.
type load struct {
	phase *phase

	mu     sync.Mutex
	videos []*video
	open   int
	group  sync.WaitGroup
	follow context.Context // of all uploads
	watch  context.CancelFunc
}

// newLoad returns the load of a phase. ctx has its values only.
func newLoad(ctx context.Context, p *phase) *load {
	l := &load{phase: p}
	l.follow, l.watch = context.WithCancel(context.WithoutCancel(ctx))
	return l
}

// kinds are the kinds of uploads, and how many of a hundred each has.
var kinds = []struct {
	share    int
	pipeline string
	expect   pipeline.VideoState
}{
	{25, "quick", "ready"}, {18, "middle", "ready"}, {13, "slow", "ready"}, {2, "long", "ready"},
	{10, "flaky", "ready"}, {4, "flakier", "ready"}, {15, "real", "ready"},
	{7, "broken", "errored"}, {6, "junk", "rejected"},
}

// next returns the n-th upload.
func (l *load) next(n int) *video {
	v := &video{key: fmt.Sprintf("chaos-%d-%s-%d", l.phase.seed, l.phase.name[:1], n), file: l.phase.clip}
	dice := l.phase.intN(100)
	for _, k := range kinds {
		v.pipeline, v.expect = k.pipeline, k.expect
		if dice -= k.share; dice < 0 {
			break
		}
	}
	if v.pipeline == "junk" {
		v.pipeline, v.file = "quick", l.phase.junk
	}
	v.redrive = v.pipeline == "broken" && l.phase.intN(2) == 0
	v.way = []string{"form", "tus", "content"}[l.phase.intN(3)]
	switch l.phase.intN(11) {
	case 0:
		v.cancel = l.phase.between(0.1, 4)
	case 1:
		v.delete = l.phase.between(0.1, 6)
	case 2:
		v.gone = true
	}
	return v
}

// run uploads until ctx ends. Uploads that began go on until stop.
func (l *load) run(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		pause.For(ctx, l.phase.between(0.8, 1.6))
		for {
			if _, open := l.state(); open < unfinished || ctx.Err() != nil {
				break
			}
			pause.For(ctx, 100*time.Millisecond)
		}
		if ctx.Err() != nil {
			return
		}
		l.begin(l.next(n))
	}
}

// begin uploads a video and follows it, until stop.
func (l *load) begin(v *video) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v.key == "" {
		v.key = fmt.Sprintf("chaos-%d-%s-%d-own", l.phase.seed, l.phase.name[:1], len(l.videos))
	}
	l.videos = append(l.videos, v)
	l.open++
	l.group.Go(func() {
		l.one(l.follow, v)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
	})
}

// stop waits until all uploads are finished, or ctx ends.
func (l *load) stop(ctx context.Context) {
	defer context.AfterFunc(ctx, l.watch)()
	l.group.Wait()
}

// state returns how many videos were accepted and how many uploads are unfinished.
func (l *load) state() (accepted, open int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range l.videos {
		if v.id != "" {
			accepted++
		}
	}
	return accepted, l.open
}

// one uploads a video and follows it to its end.
func (l *load) one(ctx context.Context, v *video) {
	l.upload(ctx, v)
	if v.cancel > 0 {
		pause.For(ctx, v.cancel)
		err := l.insist(ctx, http.MethodPost, "/v1/videos/"+v.id+"/cancel")
		if err == nil {
			v.expect = pipeline.StateVideoCanceled
		}
	}
	if v.delete > 0 {
		pause.For(ctx, v.delete)
		v.deleted = l.insist(ctx, http.MethodDelete, "/v1/videos/"+v.id) == nil
		return
	}
	l.awaitEnd(ctx, v)
	if v.redrive && v.expect == pipeline.StateVideoErrored {
		v.redriven = l.insist(ctx, http.MethodPost, "/v1/jobs/"+v.id+"/work-a/retry") == nil
		pause.For(ctx, time.Second)
		l.awaitEnd(ctx, v)
	}
}

// awaitEnd waits until the API says that the video has ended.
func (l *load) awaitEnd(ctx context.Context, v *video) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 5*time.Second)
		view, err := l.phase.api.Video(once, v.id)
		cancel()
		if err == nil && view.Status.Terminal() {
			return
		}
		pause.For(ctx, time.Second)
	}
}

// upload tries until the answer is 201. Now and then it tries once more, as a client does that lost the
// answer.
func (l *load) upload(ctx context.Context, v *video) {
	again := l.phase.intN(10) == 0
	for ctx.Err() == nil {
		id, err := l.uploadOnce(ctx, v)
		if err != nil {
			var answer *client.Error
			if errors.As(err, &answer) && answer.Status < 500 && !mayPass(answer.Status) {
				l.phase.sayf("upload %s is refused: %v", v.key, err)
				l.phase.count("an upload that was refused", 1)
				pause.For(ctx, 2*time.Second)
			}
			pause.For(ctx, 300*time.Millisecond)
			continue
		}
		l.mu.Lock()
		if v.id == "" {
			v.id, v.accepted = id, time.Now()
		} else if id != v.id {
			v.others = append(v.others, id)
		}
		l.mu.Unlock()
		if !again {
			return
		}
		again = false
	}
}

// mayPass reports whether a refusal may pass. The read model does not know a video at once, and an upload can
// be busy with the request that was cut.
func mayPass(status int) bool {
	return slices.Contains([]int{
		http.StatusConflict, http.StatusTooManyRequests, http.StatusLocked, http.StatusNotFound,
		http.StatusRequestTimeout,
	}, status)
}

func (l *load) uploadOnce(ctx context.Context, v *video) (string, error) {
	once, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	switch v.way {
	case "tus":
		return l.uploadByTus(once, v)
	case "content":
		return l.uploadContent(once, v)
	}
	up := client.Upload{Path: v.file, Pipeline: v.pipeline, IdempotencyKey: v.key, Passthrough: v.key}
	if v.gone {
		up.Passthrough = gone
	}
	view, err := l.phase.api.Upload(once, up)
	return view.ID, err
}

// errRefused means that the server refused because the video has ended.
var errRefused = errors.New("refused")

// insist repeats a request until it succeeds or is refused for good.
func (l *load) insist(ctx context.Context, method, path string) error {
	for ctx.Err() == nil {
		status, _, err := l.phase.request(ctx, method, path)
		switch {
		case err == nil && status/100 == 2:
			return nil
		case err == nil && (status == http.StatusConflict || status == http.StatusNotFound ||
			status == http.StatusMethodNotAllowed):
			return errRefused
		}
		pause.For(ctx, 300*time.Millisecond)
	}
	return ctx.Err()
}
