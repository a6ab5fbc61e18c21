package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/live"
)

// Bounds of a WebSocket.
const (
	maxSocketMessage = 16 << 10 // bytes of a message of the client
	maxSocketFeeds   = 32       // subscriptions of one connection
	socketOrders     = 8        // messages that may wait to be carried out; then no more are read
)

// socket is one WebSocket (RFC 6455). One goroutine reads the client's messages. Another carries them out and
// writes, so it alone has the subscriptions. The connection ends with ctx.
type socket struct {
	s       *server
	conn    *websocket.Conn
	project string
	video   string // the only one that its read token reads; empty: all of the project
	client  netip.Prefix
	log     *slog.Logger
	ending  ending
	lease   *access.Lease

	ctx    context.Context //nolint:containedctx // it is the life of the connection, which outlives the request
	cancel context.CancelFunc
	wake   chan struct{} // a subscription has something
	orders chan order
	feeds  []*subscription
	slow   atomic.Bool // a subscription was cut off
	void   atomic.Bool // the credential is over
	pings  atomic.Int32
}

// subscription is a feed of a WebSocket. The client has chosen its name.
type subscription struct {
	id   string
	feed *live.Feed
}

// getWebSocket opens a WebSocket. A page of another site may not: browsers let it open one, with no question
// asked, and read what comes (cross-site WebSocket hijacking). So the guard checks it like a POST, unless it
// has a read token: then the page has got the permission from somebody.
func (s *server) getWebSocket(w http.ResponseWriter, r *http.Request) {
	bound := grantOf(r.Context()).Bound.Video
	if err := s.guard.checkWebSocket(r); err != nil && bound == "" {
		s.refuse(w, r, err)
		return
	}
	if !isWebSocket(r) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		s.refuse(w, r, fail(codeWebSocket, "The request does not ask for a WebSocket of version 13."))
		return
	}
	client := clientOf(r.Context())
	leave, err := s.subscribe(kindWebSocket, client)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	project, ending := projectOf(r.Context()), s.endingOf(r)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the guard has checked the origin, and knows --allow-origin
	})
	if err != nil { // it has answered
		leave()
		s.cfg.Logger.DebugContext(r.Context(), "open a WebSocket",
			"request_id", requestID(r.Context()), "error", err)
		return
	}
	conn.SetReadLimit(maxSocketMessage)
	s.outlive(r, closer{conn}, func(log *slog.Logger) {
		defer leave()
		k := &socket{
			s: s, conn: conn, project: project, video: bound, client: client, log: log, ending: ending,
			wake: make(chan struct{}, 1), orders: make(chan order, socketOrders),
		}
		k.ctx, k.cancel = context.WithCancel(context.Background())
		k.lease = s.lease(r.Context(), k.told) // its grant only; the request may have ended
		defer k.lease.Close()
		k.run()
	})
}

// isWebSocket reports whether a request asks for a WebSocket of the version that there is.
func isWebSocket(r *http.Request) bool {
	return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && r.ProtoAtLeast(1, 1) &&
		strings.Contains(strings.ToLower(strings.Join(r.Header.Values("Connection"), ",")), "upgrade") &&
		r.Header.Get("Sec-Websocket-Version") == "13" && r.Header.Get("Sec-Websocket-Key") != ""
}

// closer closes a WebSocket without a word.
type closer struct{ *websocket.Conn }

// Close implements io.Closer.
func (c closer) Close() error { return c.CloseNow() }

// run serves the client until it leaves or is too slow, its credential is over, or the server stops.
func (k *socket) run() {
	defer func() {
		for _, f := range k.feeds {
			f.feed.Close()
		}
	}()
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		defer k.cancel()
		k.read()
	}()
	err := k.serve()
	code, text := websocket.StatusInternalError, "the server failed; reconnect"
	switch {
	case errors.Is(err, errStopping):
		code, text = websocket.StatusGoingAway, "the server is stopping; reconnect"
	case errors.Is(err, access.ErrUnauthorized), k.void.Load():
		code, text = statusVoid, voidReason
		k.log.Info("ended a WebSocket: its credential was revoked or has expired")
	case errors.Is(err, live.ErrSlow), k.slow.Load():
		code, text = websocket.StatusTryAgainLater, "the reader was too slow; resume after the last sequence"
		k.log.Info("cut off a WebSocket: its client is too slow")
	case k.ctx.Err() != nil:
		code, text = websocket.StatusNormalClosure, ""
	default:
		k.log.Warn("WebSocket", "error", err)
	}
	_ = k.conn.Close(code, text) // the client may be gone
	k.cancel()
	<-reading
}

// statusVoid is the code with which a WebSocket is closed whose credential is over. Codes from 4000 on are
// for applications (RFC 6455, 7.4.2).
const statusVoid websocket.StatusCode = 4401

// errStopping ends a WebSocket because its server stops.
var errStopping = errors.New("the server is stopping")

// read passes the client's messages on until the connection ends. It waits while too many are not carried
// out, so a client that sends much is not answered more.
func (k *socket) read() {
	for {
		kind, raw, err := k.conn.Read(k.ctx)
		if err != nil {
			return
		}
		o := order{err: failAt("/message", codeInvalid, "The message is binary; send JSON as text.")}
		if kind == websocket.MessageText {
			o = readOrder(raw)
		}
		if !k.s.rates.allow(k.client) {
			o.err = fail(codeTooManyRequests, "Your address sends more than %d requests and messages a second.",
				k.s.cfg.Limits.MaxClientRate)
		}
		select {
		case k.orders <- o:
		case <-k.ctx.Done():
			return
		}
	}
}

// serve carries out messages and sends events, until something ends it.
func (k *socket) serve() error {
	heartbeat := time.NewTicker(k.s.cfg.Limits.Heartbeat)
	defer heartbeat.Stop()
	for {
		more, err := false, k.lease.Check()
		if err == nil {
			more, err = k.sendNext()
		}
		switch {
		case errors.Is(err, access.ErrStale): // events wait until credentials can be judged again
			err = nil
		case err != nil:
			return err
		}
		var next chan struct{}
		if more {
			next = make(chan struct{})
			close(next)
		}
		select {
		case <-next:
			if k.ending.now() {
				return errStopping
			}
		case <-k.wake:
		case o := <-k.orders:
			err = k.carryOut(o)
		case <-heartbeat.C:
			k.ping()
		case <-k.ending.server:
			return errStopping
		case <-k.ending.all:
			return errStopping
		case <-k.ctx.Done():
			return k.ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// ping ends the connection to a client that does not answer.
func (k *socket) ping() {
	if !k.pings.CompareAndSwap(0, 1) {
		return // the last one has time left
	}
	go func() {
		defer k.pings.Store(0)
		ctx, cancel := context.WithTimeout(k.ctx, 2*k.s.cfg.Limits.Heartbeat)
		defer cancel()
		if err := k.conn.Ping(ctx); err != nil && k.ctx.Err() == nil {
			k.log.Debug("the client of a WebSocket does not answer", "error", err)
			k.cancel()
		}
	}()
}

// sendNext sends what each subscription has now, a page at most. more says that some have more.
func (k *socket) sendNext() (more bool, err error) {
	for _, f := range k.feeds {
		items, again, err := f.feed.Next(k.ctx)
		if err != nil {
			return false, err
		}
		more = more || again
		for _, it := range items {
			if err := k.sendItem(f.id, it); err != nil {
				return false, err
			}
		}
	}
	return more, nil
}

func (k *socket) sendItem(id string, it live.Item) error {
	if it.Event == nil {
		return k.send(socketProgress{Type: "progress", ID: id, Progress: it.Progress})
	}
	return k.send(socketEvent{Type: "event", ID: id, Sequence: it.Event.Sequence, Event: it.Event.Doc})
}

// cut is called when a subscription is cut off. It ends a write that waits for the client, soon.
func (k *socket) cut() {
	k.slow.Store(true)
	time.AfterFunc(lastWordTime, k.cancel)
}

// told is called when the credential is over, and when it can be judged again.
func (k *socket) told(over bool) {
	if over {
		k.void.Store(true)
		time.AfterFunc(voidWordTime, k.cancel)
	}
	ring(k.wake)
}

// carryOut does what a message asks for, and answers it.
func (k *socket) carryOut(o order) error {
	answer := socketAnswer{Type: "error", ID: o.ID}
	err := o.err
	if err == nil {
		answer, err = k.obey(o)
	}
	if err != nil {
		f := classify(err)
		if f.code == codeInternal || f.code == codeUnavailable {
			k.log.Error("WebSocket message", "error", err)
		}
		entry := codes[f.code]
		answer = socketAnswer{
			Type: "error", ID: o.ID, Code: f.code, Title: entry.title, Detail: f.detail, Remedy: entry.remedy,
		}
	}
	return k.send(answer)
}

func (k *socket) obey(o order) (socketAnswer, error) {
	switch o.Type {
	case "ping":
		return socketAnswer{Type: "pong", ID: o.ID}, nil
	case "unsubscribe":
		for i, f := range k.feeds {
			if f.id == o.ID {
				f.feed.Close()
				k.feeds = append(k.feeds[:i], k.feeds[i+1:]...)
				return socketAnswer{Type: "unsubscribed", ID: o.ID}, nil
			}
		}
		return socketAnswer{}, failAt("/message/id", codeInvalid, "There is no subscription %q.", printable(o.ID))
	}
	if k.video != "" && !slices.Equal(o.options.Videos, []string{k.video}) {
		return socketAnswer{}, tokenMisused("The token reads the video %s; subscribe to its events alone.", k.video)
	}
	for _, f := range k.feeds {
		if f.id == o.ID {
			return socketAnswer{}, failAt("/message/id", codeInvalid, "There is a subscription %q already.",
				printable(o.ID))
		}
	}
	if len(k.feeds) >= maxSocketFeeds {
		return socketAnswer{}, failAt("/message", codeInvalid,
			"The connection has %d subscriptions, which is the limit.", maxSocketFeeds)
	}
	wanted := o.options
	wanted.Project, wanted.Wake, wanted.Cut = k.project, k.wake, k.cut
	feed, err := k.s.hub.Open(k.ctx, wanted)
	if err != nil {
		return socketAnswer{}, err
	}
	k.feeds = append(k.feeds, &subscription{o.ID, feed})
	at := feed.Position()
	return socketAnswer{Type: "subscribed", ID: o.ID, Position: &at}, nil
}

// send gives the client WriteIdle to take a message.
func (k *socket) send(v any) error {
	raw, err := encodeMessage(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	ctx, cancel := context.WithTimeout(k.ctx, k.s.cfg.Limits.WriteIdle)
	defer cancel()
	return k.conn.Write(ctx, websocket.MessageText, raw)
}
