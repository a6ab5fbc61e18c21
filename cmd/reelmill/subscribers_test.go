package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestSubscribersThroughRestarts: readers of event streams and WebSockets follow all events while the server
// is killed, stopped and killed again. Each sees each event once, in order. The whole test has 1,000.
func TestSubscribersThroughRestarts(t *testing.T) {
	each := 8 // of both kinds
	if pipelinetest.Whole() {
		each = 500
	}
	server := &subscribed{t: t, data: t.TempDir()}
	server.start()
	view, err := server.current().client().Upload(t.Context(), client.Upload{
		Reader: strings.NewReader("x"), Name: "x.mp4",
	})
	check(t, err)
	const last = "the last title"
	results := make(chan []uint64, 2*each)
	for range each {
		go func() { results <- server.follow(last, server.readSSE) }()
		go func() { results <- server.follow(last, server.readSocket) }()
	}
	changed := 0
	change := func(title string) {
		for t.Context().Err() == nil {
			_, err := server.current().client().Change(t.Context(), view.ID, client.Change{Title: &title})
			if err == nil {
				changed++
				return
			}
		}
	}
	for round := range 4 {
		for i := range 10 {
			change(fmt.Sprintf("title %d of round %d", i, round))
		}
		switch round {
		case 0, 2:
			server.current().kill()
			server.start()
		case 1:
			server.current().stop(t)
			server.start()
		}
	}
	change(last)
	want := []uint64{}
	for n := range changed + 1 {
		want = append(want, uint64(n+1))
	}
	for range 2 * each {
		if got := pipelinetest.Receive(t, "a subscriber", results); !slices.Equal(got, want) {
			t.Errorf("saw %v, want 1 to %d", got, len(want))
		}
	}
}

// subscribed is a server with readers of its events, that restarts on one folder.
type subscribed struct {
	t    *testing.T
	data string
	mu   sync.Mutex
	p    *process
}

func (s *subscribed) start() {
	p := startServe(s.t, binary, s.data, "--no-workers", "--max-client-rate", "100000")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p = p
}

func (s *subscribed) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p
}

// follow reads connection after connection, until an event has the text last, and returns all sequences.
func (s *subscribed) follow(
	last string, read func(after uint64, take func(uint64, []byte) bool),
) (seen []uint64) {
	for done := false; !done && s.t.Context().Err() == nil; {
		after := uint64(0)
		if len(seen) > 0 {
			after = seen[len(seen)-1]
		}
		read(after, func(sequence uint64, doc []byte) bool {
			seen = append(seen, sequence)
			done = strings.Contains(string(doc), last)
			return !done
		})
	}
	return seen
}

// readSSE reads one event stream until take returns false or the connection ends.
func (s *subscribed) readSSE(after uint64, take func(uint64, []byte) bool) {
	url := s.current().url + "/v1/events/stream?after=0"
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	request.Header.Set("Last-Event-ID", strconv.FormatUint(after, 10))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return
	}
	lines, id := bufio.NewReaderSize(answer.Body, 64<<10), uint64(0)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "id: "); ok {
			id, _ = strconv.ParseUint(text, 10, 64)
		}
		if doc, ok := strings.CutPrefix(line, "data: "); ok && !take(id, []byte(doc)) {
			return
		}
	}
}

// readSocket reads one WebSocket until take returns false or the connection ends.
func (s *subscribed) readSocket(after uint64, take func(uint64, []byte) bool) {
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.current().url+"/v1/ws", nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	subscribe := fmt.Sprintf(`{"type":"subscribe","id":"a","all":true,"after":%d}`, after)
	if conn.Write(ctx, websocket.MessageText, []byte(subscribe)) != nil {
		return
	}
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var m struct {
			Type     string
			Sequence uint64
			Event    json.RawMessage
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			s.t.Error(err)
			return
		}
		if m.Type == "event" && !take(m.Sequence, m.Event) {
			return
		}
	}
}
