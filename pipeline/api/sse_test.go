package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage/catalog"
)

// TestStreamOfAllEvents: the stream begins with what happens now, and says where that is. A reader that comes
// back with that id, or with the one of an event, misses nothing.
func TestStreamOfAllEvents(t *testing.T) {
	e := newEnv(t, nil)
	one := e.uploaded().ID
	r := e.stream("/v1/events/stream")
	first, _ := r.next()
	if first.id != "1" || first.name != "" || first.data != "" {
		t.Errorf("begins with %+v", first)
	}
	r.resp.Body.Close() // before the first event
	e.inspected(one)
	other := e.uploaded().ID
	r = e.stream("/v1/events/stream", "Last-Event-ID", first.id)
	r.next()
	names, last := r.names(2)
	equal(t, "after a reconnect", names, "video.inspected", "video.uploaded")
	if ev := decode[pipeline.Event](t, []byte(last.data)); ev.CorrelationID != other || last.id != "3" {
		t.Errorf("%+v", last)
	}
	e.finished(one) // which does not end this stream
	e.do("DELETE", "/v1/videos/"+other, nil)
	names, _ = r.names(2)
	equal(t, "live", names, "video.ready", "video.deleted")
	r = e.stream("/v1/events/stream?after=0")
	r.next()
	names, _ = r.names(4)
	equal(t, "from the beginning", names, "video.uploaded", "video.inspected", "video.ready", "video.deleted")
}

// TestStreamOfSomeEvents: types and videos select.
func TestStreamOfSomeEvents(t *testing.T) {
	e := newEnv(t, nil)
	one, other := e.uploaded().ID, e.uploaded().ID
	for query, want := range map[string][]string{
		"types=video.uploaded,video.ready&video=" + one: {"video.uploaded", "video.ready"},
		"type=video.ready":            {"video.ready", "video.ready"},
		"video=" + one + "," + other:  {"video.uploaded", "video.uploaded", "video.ready", "video.ready"},
		"video=vid_of_nobody,&type= ": nil,
	} {
		r := e.stream("/v1/events/stream?after=0&" + strings.ReplaceAll(query, " ", "%20"))
		r.next()
		if len(want) == 0 {
			r.resp.Body.Close()
			continue
		}
		if query == "type=video.ready" || strings.HasPrefix(query, "video=") {
			defer func() {
				names, _ := r.names(len(want))
				equal(t, query, names, want...)
			}()
			continue
		}
		defer func() {
			names, last := r.names(len(want))
			equal(t, query, names, want...)
			if ev := decode[pipeline.Event](t, []byte(last.data)); ev.CorrelationID != one {
				t.Errorf("%s: of another video", query)
			}
		}()
	}
	e.finished(other)
	e.finished(one)
}

// TestStreamsRefuse: what is wrong with a request for a stream is named, before the stream begins.
func TestStreamsRefuse(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.LogEnd = func(context.Context) (uint64, error) { return 40, nil } })
	id := e.uploaded().ID
	e.finished(id)
	for path, c := range map[string]code{
		"/v1/events/stream?types=video.redy":                   codeInvalid,
		"/v1/events/stream?video=a%20b%21":                     codeInvalid,
		"/v1/events/stream?video=" + strings.Repeat("v,", 101): codeInvalid,
		"/v1/events/stream?after=x":                            codeInvalid,
		"/v1/events/stream?limit=1":                            codeInvalid,
		"/v1/events/stream?after=41":                           codeCursorAhead,
		"/v1/videos/" + id + "/events?after=41":                codeCursorAhead,
		"/v1/videos/vid_unknown/events":                        codeNotFound,
	} {
		resp, raw := e.get(path)
		wantProblem(t, resp, raw, c)
	}
	if resp, _ := e.do("HEAD", "/v1/events/stream", nil); resp.StatusCode != 200 {
		t.Errorf("HEAD: %s", resp.Status)
	}
	r := e.stream("/v1/events/stream?after=40") // the read model is late
	if s, _ := r.next(); s.id != "40" {
		t.Errorf("%+v", s)
	}
}

// narrow is a listener whose connections keep little of what their client does not take.
type narrow struct{ net.Listener }

// Accept implements net.Listener.
func (l narrow) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return conn, err
}

// raw opens a stream over a connection of which nothing is read but the header, with small buffers.
func (e *env) raw(path, version string) (net.Conn, *http.Response) {
	e.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(e.t, err)
	srv := Server("", e.handler)
	go func() { _ = srv.Serve(narrow{listener}) }()
	e.t.Cleanup(func() { srv.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	must(e.t, err)
	e.t.Cleanup(func() { conn.Close() })
	must(e.t, conn.(*net.TCPConn).SetReadBuffer(4096))
	_, err = fmt.Fprintf(conn, "GET %s HTTP/%s\r\nHost: localhost\r\n\r\n", path, version)
	must(e.t, err)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	must(e.t, err)
	return conn, resp
}

// big is the title of a change that no narrow connection keeps.
var big = strings.Repeat("x", 50_000)

// TestSlowClientIsCutOff: a client that takes nothing is cut off when more events than the limit wait for it,
// while others get all. If it reads on at once, it learns why.
func TestSlowClientIsCutOff(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.StreamBuffer, c.Progress = 4, nil })
	id := e.uploaded().ID
	quick := e.stream("/v1/events/stream")
	quick.next()
	_, slow := e.raw("/v1/events/stream", "1.1")
	e.openStreams(2)
	for sent := 0; e.api.Subscribers().Cut == 0; sent++ {
		e.tell(pipeline.VideoChanged, pipeline.ChangedSubject(project, id), pipeline.Label{Title: big})
		if s, ok := quick.next(); !ok || s.name != "video.changed" {
			t.Fatalf("the quick client after %d events: %s %t", sent, s.name, ok)
		}
	}
	all, err := io.ReadAll(slow.Body)
	if err != nil || !strings.HasSuffix(string(all), ": cut off: the reader was too slow; resume with Last-Event-ID\n\n") {
		t.Errorf("its last word: %.100q, %v", all[max(0, len(all)-100):], err)
	}
	e.openStreams(1)
}

// TestStalledClientIsCutOff: a client that never reads holds its place for a few seconds only.
func TestStalledClientIsCutOff(t *testing.T) {
	e := newEnv(t, func(c *Config) {
		c.Limits.StreamBuffer, c.Limits.WriteIdle, c.Progress = 4, 24*time.Hour, nil
	})
	id := e.uploaded().ID
	e.raw("/v1/events/stream", "1.1")
	for e.api.Subscribers().Cut == 0 {
		e.tell(pipeline.VideoChanged, pipeline.ChangedSubject(project, id), pipeline.Label{Title: big})
	}
	e.openStreams(0)
}

// TestStreamOfAnOldClient: HTTP/1.0 has no chunks; the answer ends with its connection.
func TestStreamOfAnOldClient(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	e.finished(id)
	conn, resp := e.raw("/v1/videos/"+id+"/events", "1.0")
	all, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(all), "id: 1\nevent: video.uploaded\ndata: {") ||
		!strings.HasSuffix(string(all), "event: end\ndata: {}\n\n") {
		t.Errorf("%.100q %v", all, err)
	}
	conn.Close()
}

// TestStreamsEndTogether: EndStreams ends streams that an http.Server does not know any more, and lets no new
// one stay.
func TestStreamsEndTogether(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	one, all := e.stream("/v1/videos/"+id+"/events"), e.stream("/v1/events/stream")
	one.names(1)
	all.next()
	e.api.EndStreams(t.Context())
	for _, r := range []*reader{one, all, e.stream("/v1/events/stream")} {
		for {
			if _, ok := r.next(); !ok {
				break
			}
		}
	}
	e.openStreams(0)
}

// TestStreamsOfOneVideoAndManyReaders: each of many readers sees each event once, whenever it began, and the
// server asks the read model once for each change and not once for each reader.
func TestStreamsOfOneVideoAndManyReaders(t *testing.T) {
	var counts *countingCatalog
	e := newEnv(t, func(c *Config) { counts = &countingCatalog{Catalog: c.Catalog}; c.Catalog = counts })
	id := e.uploaded().ID
	const readers, events = 50, 40
	done := make(chan []string, readers)
	for i := range readers {
		r := e.stream("/v1/videos/" + id + "/events")
		go func() {
			var ids []string
			for {
				s, ok := r.next()
				if !ok || s.name == "end" {
					break
				}
				ids = append(ids, s.id)
			}
			done <- ids
		}()
		if i%2 == 0 && i/2 < events/2 {
			e.job(pipeline.JobStarted, id, "a-"+strconv.Itoa(i))
		}
	}
	before := counts.asked.Load()
	for i := range events / 2 {
		e.job(pipeline.JobStarted, id, "b-"+strconv.Itoa(i))
	}
	e.finished(id)
	var want []string
	for i := range events + 2 {
		want = append(want, strconv.Itoa(i+1))
	}
	for range readers {
		if got := pipelinetest.Receive(t, "a reader", done); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
	}
	// Each reader may still have been on its way into the hub, with a query or two.
	if asked := counts.asked.Load() - before; asked > 2*readers+2*(events+2) {
		t.Errorf("%d queries for %d events and %d readers", asked, events/2, readers)
	}
}

// countingCatalog counts the queries for events.
type countingCatalog struct {
	Catalog
	asked atomic.Int64
}

func (c *countingCatalog) History(ctx context.Context, q catalog.EventQuery) ([]pipeline.Event, error) {
	c.asked.Add(1)
	return c.Catalog.History(ctx, q)
}
