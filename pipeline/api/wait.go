package api

import (
	"context"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
)

// maxWait bounds how long a read waits for a state. Longer waits are cut to it.
const maxWait = 60 * time.Second

func parseWait(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, maxWait.Seconds()) * float64(time.Second)), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, failAt("/query/wait", codeInvalid,
			"wait is %.40q; write seconds, such as 30, or a duration, such as 30s.", text)
	}
	return min(d, maxWait), nil
}

// awaited are the types of events that may end a wait. A video that is not there any more ends it, too.
var awaited = []pipeline.EventType{
	pipeline.VideoPlayable, pipeline.VideoReady, pipeline.VideoErrored, pipeline.VideoRejected,
	pipeline.VideoCanceled, pipeline.VideoDeleted,
}

// await returns the video once it is playable or has ended, or as it is when the time is over. It looks at
// the video when an event says that its state is another one.
func (s *server) await(ctx context.Context, id string, wait time.Duration, playable bool) (
	pipeline.VideoView, error,
) {
	if err := checkVideo(id); err != nil {
		return pipeline.VideoView{}, err
	}
	project := projectOf(ctx)
	v, err := s.cfg.Catalog.Video(ctx, project, id)
	if err != nil || wait == 0 || reached(v, playable) {
		return v, err
	}
	leave, err := s.subscribe(kindWait, clientOf(ctx))
	if err != nil {
		return v, err
	}
	defer leave()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	wake := make(chan struct{}, 1)
	lease := s.lease(ctx, func(bool) { ring(wake) })
	defer lease.Close()
	feed, err := s.hub.Open(ctx, live.Options{
		Project: project, Videos: []string{id}, Types: awaited, Wake: wake,
	})
	if err != nil {
		return v, err
	}
	defer feed.Close()
	for {
		if err := lease.Check(); err != nil {
			return v, err
		}
		v, err := s.cfg.Catalog.Video(ctx, project, id) // after the feed has begun, so no change falls between
		if err != nil || reached(v, playable) {
			return v, err
		}
		select {
		case <-wake:
			if _, _, err := feed.Next(ctx); err != nil {
				return v, err
			}
		case <-timer.C:
			return v, nil
		case <-closing(ctx):
			return v, nil
		case <-s.streams.ends:
			return v, nil
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// reached reports whether a video is in the state that a read waits for.
func reached(v pipeline.VideoView, playable bool) bool {
	return v.Status.Terminal() || playable && v.Playable
}
