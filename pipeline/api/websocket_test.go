package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// socketClient is the client of a WebSocket.
type socketClient struct {
	t    *testing.T
	conn *websocket.Conn
}

// said is any message of the server.
type said struct {
	Type, ID, Code, Detail string
	Position, Sequence     uint64
	Event                  pipeline.Event
	Progress               pipeline.Progress
}

func (e *env) dial(headers ...string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	conn, resp, err := websocket.Dial(pipelinetest.Context(e.t), e.url+"/v1/ws", &websocket.DialOptions{HTTPHeader: h})
	if err == nil {
		e.t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, resp, err
}

func (e *env) socket() *socketClient {
	e.t.Helper()
	conn, _, err := e.dial()
	must(e.t, err)
	return &socketClient{e.t, conn}
}

func (c *socketClient) say(format string, args ...any) {
	c.t.Helper()
	must(c.t, c.conn.Write(pipelinetest.Context(c.t), websocket.MessageText, fmt.Appendf(nil, format, args...)))
}

func (c *socketClient) hear() said {
	c.t.Helper()
	_, raw, err := c.conn.Read(pipelinetest.Context(c.t))
	must(c.t, err)
	var m said
	must(c.t, json.Unmarshal(raw, &m))
	return m
}

// events returns the types of the next n events, which are all of a subscription.
func (c *socketClient) events(id string, n int) (types []string, last uint64) {
	c.t.Helper()
	for range n {
		m := c.hear()
		if m.Type != "event" || m.ID != id || m.Sequence <= last {
			c.t.Fatalf("%+v", m)
		}
		types, last = append(types, string(m.Event.Type)), m.Sequence
	}
	return types, last
}

// TestWebSocket: several subscriptions get what they select, from their places on, and resume without a gap.
func TestWebSocket(t *testing.T) {
	e := newEnv(t, nil)
	one, other := e.uploaded().ID, e.uploaded().ID
	c := e.socket()
	c.say(`{"type":"ping","id":"p"}`)
	if m := c.hear(); m.Type != "pong" || m.ID != "p" {
		t.Errorf("%+v", m)
	}
	c.say(`{"type":"subscribe","id":"past","all":true,"after":0,"types":["video.uploaded"]}`)
	if m := c.hear(); m.Type != "subscribed" || m.ID != "past" || m.Position != 0 {
		t.Errorf("%+v", m)
	}
	types, _ := c.events("past", 2)
	equal(t, "past", types, "video.uploaded", "video.uploaded")
	c.say(`{"type":"subscribe","id":"now","videos":[%q]}`, one)
	if m := c.hear(); m.Type != "subscribed" || m.Position != 2 {
		t.Errorf("%+v", m)
	}
	e.inspected(other)
	e.inspected(one)
	m := c.hear()
	if m.Type != "event" || m.ID != "now" || m.Event.CorrelationID != one || m.Sequence != 4 {
		t.Errorf("%+v", m)
	}
	must(t, e.Bus.Progress(t.Context(), project, pipeline.Progress{Video: one, Job: "j", Fraction: 0.5}))
	if m := c.hear(); m.Type != "progress" || m.ID != "now" || m.Progress.Fraction != 0.5 {
		t.Errorf("%+v", m)
	}
	c.say(`{"type":"unsubscribe","id":"now"}`)
	if m := c.hear(); m.Type != "unsubscribed" || m.ID != "now" {
		t.Errorf("%+v", m)
	}
	c.conn.CloseNow()
	e.finished(one)
	c = e.socket()
	c.say(`{"type":"subscribe","id":"again","videos":[%q],"after":4}`, one)
	c.hear()
	types, _ = c.events("again", 1)
	equal(t, "resumed", types, "video.ready")
}

// TestWebSocketRefuses: each wrong message is answered, and the connection stays.
func TestWebSocketRefuses(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.LogEnd = func(context.Context) (uint64, error) { return 9, nil } })
	c := e.socket()
	c.say(`{"type":"subscribe","id":"taken","all":true}`)
	c.hear()
	for message, words := range map[string]string{
		`nonsense`:                     "message",
		`{"type":"ping"} {}`:           "more than one",
		`{"type":"subscrbe","id":"a"}`: "subscribe",
		`{"type":"subscribe","id":"a","video":"vid_1"}`:                     "video",
		`{"type":"subscribe","all":true}`:                                   "id",
		`{"type":"subscribe","id":"a"}`:                                     "all",
		`{"type":"subscribe","id":"a","all":true,"videos":["v"]}`:           "either",
		`{"type":"subscribe","id":"a","videos":["a b"]}`:                    "video",
		`{"type":"subscribe","id":"a","all":true,"types":["x"]}`:            "type of event",
		`{"type":"subscribe","id":"taken","all":true}`:                      "already",
		`{"type":"unsubscribe","id":"nobody"}`:                              "nobody",
		`{"type":"subscribe","id":"` + strings.Repeat("a", 65) + `"}`:       "64",
		`{"type":"subscribe","id":"a","all":true,"types":["job.progress"]}`: "besides",
	} {
		c.say("%s", message)
		if m := c.hear(); m.Type != "error" || m.Code != string(codeInvalid) || !strings.Contains(m.Detail, words) {
			t.Errorf("%s: %+v", message, m)
		}
	}
	c.say(`{"type":"subscribe","id":"a","all":true,"after":10}`)
	if m := c.hear(); m.Code != string(codeCursorAhead) || m.ID != "a" {
		t.Errorf("%+v", m)
	}
	for i := range maxSocketFeeds {
		c.say(`{"type":"subscribe","id":"%d","all":true}`, i)
		if m := c.hear(); (m.Type == "error") != (i == maxSocketFeeds-1) {
			t.Errorf("%d: %+v", i, m)
		}
	}
	c.say(`{"type":"ping","id":%q}`, strings.Repeat("x", maxSocketMessage))
	if _, _, err := c.conn.Read(pipelinetest.Context(t)); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a message that is too large: %v", err)
	}
	resp, raw := e.get("/v1/ws")
	wantProblem(t, resp, raw, codeWebSocket)
}

// TestWebSocketOfAnotherSite: a page may not open a WebSocket that reads with its visitor's access, unless it is
// allowed to. Browsers do not ask before they open one.
func TestWebSocketOfAnotherSite(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Origins = []string{"https://app.example.com"} })
	for _, headers := range [][]string{
		{"Origin", "https://evil.example"}, {"Origin", "null"},
		{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://app.example.com.evil.example"},
	} {
		if _, resp, err := e.dial(headers...); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%q: %v", headers, err)
		}
	}
	for _, headers := range [][]string{
		nil, {"Origin", e.url}, {"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"},
	} {
		if _, _, err := e.dial(headers...); err != nil {
			t.Errorf("%q: %v", headers, err)
		}
	}
}

// open waits until so many WebSockets are open.
func (e *env) openSockets(n int) {
	e.t.Helper()
	pipelinetest.Until(e.t, fmt.Sprint(n, " sockets"), func() bool { return e.api.Subscribers().Open["websocket"] == n })
}

// TestWebSocketEndsWithTheServer: the client is told, and may come back.
func TestWebSocketEndsWithTheServer(t *testing.T) {
	e := newEnv(t, nil)
	c := e.socket()
	e.openSockets(1)
	done := make(chan error, 1)
	go func() { done <- e.srv.Config.Shutdown(context.Background()) }()
	if _, _, err := c.conn.Read(pipelinetest.Context(t)); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("it ends with %v", err)
	}
	must(t, <-done)
	e.openSockets(0)
}

// TestDeadWebSocket: a peer that answers no ping does not hold its place.
func TestDeadWebSocket(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.Heartbeat, c.Limits.MaxStreams = 20*time.Millisecond, 1 })
	e.socket() // whoever does not read answers no ping
	pipelinetest.Until(t, "the peer is found dead", func() bool { return e.api.Subscribers().Open["websocket"] == 0 })
}

// TestWebSocketOfASlowReader: it is cut off, and the server says so, with close code 1013, if the client reads
// again soon. A busy machine may make a client too late for that, so further ones try.
func TestWebSocketOfASlowReader(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.StreamBuffer = 4 })
	id := e.uploaded().ID
	large := strings.Repeat("x", 800_000)
	for range 20 {
		c, before := e.socket(), e.api.Subscribers().Cut
		c.say(`{"type":"subscribe","id":"a","all":true}`)
		c.hear()
		c.conn.SetReadLimit(1 << 20)
		for e.api.Subscribers().Cut == before {
			e.tell(pipeline.VideoChanged, pipeline.ChangedSubject(project, id), pipeline.Label{Title: large})
		}
		var err error
		for last := uint64(0); err == nil; {
			var raw []byte
			if _, raw, err = c.conn.Read(pipelinetest.Context(t)); err == nil {
				var m said
				must(t, json.Unmarshal(raw, &m))
				if m.Sequence <= last {
					t.Fatalf("%d after %d", m.Sequence, last)
				}
				last = m.Sequence
			}
		}
		e.openSockets(0) // WriteIdle alone would take a minute
		if code := websocket.CloseStatus(err); code == websocket.StatusTryAgainLater {
			return
		} else if code != -1 {
			t.Fatalf("closed with %d", code)
		}
	}
	t.Error("no client was told that it is too slow")
}
