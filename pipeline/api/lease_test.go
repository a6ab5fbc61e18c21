package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// streamPromise is how long a stream may last after the revocation of its key.
const streamPromise = 2 * time.Second

// outlived are streams of each kind, opened with one key.
type outlived struct {
	g      *gated
	sse    []*reader
	socket *websocket.Conn
	waited chan error
}

// open opens a stream of each kind with a key. It returns an error if the key has expired before all are open.
func (g *gated) open(secret, video string) (*outlived, error) {
	g.t.Helper()
	auth := []string{"Authorization", "Bearer " + secret}
	o := &outlived{g: g, waited: make(chan error, 1)}
	for _, path := range []string{"/v1/events/stream", "/v1/videos/" + video + "/events"} {
		r := g.stream(path, auth...)
		if _, ok := r.next(); !ok || r.resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", path, r.resp.Status)
		}
		o.sse = append(o.sse, r)
	}
	conn, resp, err := g.dial(auth...)
	if err != nil {
		return nil, fmt.Errorf("WebSocket: %w (%+v)", err, resp)
	}
	o.socket = conn
	go func() { o.waited <- g.wait(video, auth) }()
	pipelinetest.Until(g.t, "a read waits", func() bool {
		return g.api.Subscribers().Open["wait"] == 1 || len(o.waited) == 1
	})
	if len(o.waited) == 1 {
		return nil, errors.New("the read does not wait")
	}
	return o, nil
}

// wait waits for the end of a video, which does not come. It returns an error unless the answer is 401.
func (g *gated) wait(video string, auth []string) error {
	req, err := http.NewRequest(http.MethodGet, g.url+"/v1/videos/"+video+"?wait=60s", nil)
	if err != nil {
		return err
	}
	req.Header.Set(auth[0], auth[1])
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("the read that waited: %s", resp.Status)
	}
	return nil
}

// wantEnd checks that each stream ends, and says why.
func (o *outlived) wantEnd(began time.Time) {
	t := o.g.t
	t.Helper()
	for _, r := range o.sse {
		s, ok := r.next()
		if v := decode[voided](t, []byte(s.data)); !ok || s.name != voidEvent || s.id != "" || v.Code != codeUnauthorized {
			t.Errorf("the last event: %+v", s)
		}
		if s, ok := r.next(); ok {
			t.Errorf("after the last event: %+v", s)
		}
	}
	_, _, err := o.socket.Read(pipelinetest.Context(t))
	if c, ok := errors.AsType[websocket.CloseError](err); !ok || c.Code != statusVoid || c.Reason != voidReason {
		t.Errorf("WebSocket: %v", err)
	}
	must(t, pipelinetest.Receive(t, "the answer to the read that waits", o.waited))
	pipelinetest.Promptly(t, "the end of all streams", began, streamPromise)
	pipelinetest.Until(t, "no stream is left", func() bool {
		open := o.g.api.Subscribers().Open
		return open["sse"]+open["websocket"]+open["wait"] == 0
	})
}

// TestStreamsEndWithTheirKey: what was opened with a key ends when the key is revoked or expires, while streams
// of another key go on.
func TestStreamsEndWithTheirKey(t *testing.T) {
	g := newGated(t)
	_, all := g.key("default", time.Time{}, access.Upload, access.Read)
	video := g.uploaded("Authorization", "Bearer "+all).ID
	k, secret := g.key("default", time.Time{}, access.Read)
	o, err := g.open(secret, video)
	must(t, err)
	began := time.Now()
	_, err = access.RevokeKey(t.Context(), g.Bus, "default", k.ID)
	must(t, err)
	o.wantEnd(began)

	pipelinetest.Longer(t, time.Second, time.Minute, func(life time.Duration) error {
		_, secret := g.key("default", time.Now().Add(life), access.Read)
		o, err := g.open(secret, video)
		if err == nil {
			o.wantEnd(time.Now().Add(life))
		}
		return err
	})

	other := g.stream("/v1/events/stream", "Authorization", "Bearer "+all)
	other.next()
	g.inspected(video)
	if s, ok := other.next(); !ok || s.name != string(pipeline.VideoInspected) {
		t.Errorf("a stream of another key: %+v", s)
	}
}

// muted is a feed that can be cut: then nothing comes, and nobody hears that the log was looked at.
type muted struct {
	access.Feed
	cut atomic.Bool
}

var errMuted = errors.New("the feed is cut")

func (m *muted) Tail(ctx context.Context, filter string, apply func(pipeline.Event) error, heard func(time.Time)) error {
	return m.Feed.Tail(ctx, filter, func(e pipeline.Event) error {
		if m.cut.Load() {
			return errMuted // the event comes again
		}
		return apply(e)
	}, func(at time.Time) {
		if !m.cut.Load() {
			heard(at)
		}
	})
}

// TestStreamsHoldBackWhatNobodyMayKnow: while the server does not hear of revocations, a stream brings no
// events. Afterwards it ends if its key was revoked, and goes on if not.
func TestStreamsHoldBackWhatNobodyMayKnow(t *testing.T) {
	feed := &muted{}
	g := newGatedBy(t, feed)
	_, all := g.key("default", time.Time{}, access.Upload, access.Read)
	video := g.uploaded("Authorization", "Bearer "+all).ID
	k, secret := g.key("default", time.Time{}, access.Read)
	revoked := g.stream("/v1/events/stream", "Authorization", "Bearer "+secret)
	revoked.next()
	good := g.stream("/v1/events/stream", "Authorization", "Bearer "+all)
	good.next()
	socket, _, err := g.dial("Authorization", "Bearer "+secret)
	must(t, err)
	c := &socketClient{t, socket}
	c.say(`{"type":"subscribe","id":"a","all":true}`)
	c.hear()
	feed.cut.Store(true)
	pipelinetest.Until(t, "the server refuses keys", func() bool {
		err := g.book.Read(t.Context(), func(*access.State) {})
		return errors.Is(err, access.ErrStale)
	})
	_, err = access.RevokeKey(t.Context(), g.Bus, "default", k.ID)
	must(t, err)
	for range 20 { // so that one would come through
		g.tell(pipeline.VideoChanged, pipeline.ChangedSubject(project, video), pipeline.Label{Title: "secret"})
	}
	feed.cut.Store(false)
	if s, ok := revoked.next(); !ok || s.name != voidEvent {
		t.Errorf("the stream of the revoked key: %+v", s)
	}
	if _, said, err := socket.Read(pipelinetest.Context(t)); websocket.CloseStatus(err) != statusVoid {
		t.Errorf("the WebSocket of the revoked key: %s %v", said, err)
	}
	if s, ok := good.next(); !ok || s.name != string(pipeline.VideoChanged) {
		t.Errorf("the stream of the other key: %+v", s)
	}
}
