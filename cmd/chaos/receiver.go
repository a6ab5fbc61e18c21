package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// webhookSecret signs the webhooks of every process of a run.
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// gone is the passthrough of videos whose webhooks the receiver refuses with 410.
const gone = "gone"

// delivery is a webhook that the receiver got, and its answer; 0 for none.
type delivery struct {
	at            time.Time
	id            string
	kind          string
	video, status string
	answer        int
}

// receiver receives the webhooks. At times it refuses connections, hangs or answers 500.
type receiver struct {
	url     string
	address string
	server  *http.Server

	mu    sync.Mutex
	mode  string // "", "500" or "hang"
	seen  map[string]int
	log   []delivery
	close func()
}

func newReceiver(ctx context.Context) (*receiver, error) {
	r := &receiver{seen: map[string]int{}, address: "127.0.0.1:0"}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.url = "http://" + r.address + "/hook"
	return r, nil
}

// open listens, at the same address each time.
func (r *receiver) open(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", r.address)
	if err != nil {
		return err
	}
	r.address = l.Addr().String()
	r.close = func() { l.Close() }
	go func() { _ = r.server.Serve(l) }() // ends when l is closed
	return nil
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	var message struct {
		Type string `json:"type"`
		Data struct {
			ID          string `json:"id"`
			Status      string `json:"status"`
			Passthrough string `json:"passthrough"`
		} `json:"data"`
	}
	body, err := io.ReadAll(io.LimitReader(request.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(body, &message)
	}
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	d := delivery{
		at: time.Now(), id: request.Header.Get("Webhook-Id"), kind: message.Type,
		video: message.Data.ID, status: message.Data.Status, answer: http.StatusOK,
	}
	r.mu.Lock()
	first := r.seen[d.id] == 0
	r.seen[d.id]++
	mode := r.mode
	switch {
	case message.Data.Passthrough == gone:
		d.answer = http.StatusGone
	case mode == "500" && first:
		d.answer = http.StatusInternalServerError
	case mode == "hang" && first:
		d.answer = 0
	}
	r.log = append(r.log, d)
	r.mu.Unlock()
	if d.answer == 0 {
		select {
		case <-request.Context().Done(): // the caller has given up
		case <-time.After(20 * time.Second):
		}
		return
	}
	w.WriteHeader(d.answer)
	fmt.Fprintln(w, http.StatusText(d.answer))
}

func (r *receiver) setMode(mode string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode = mode
}

// misbehave goes through the ways of failing until ctx ends.
func (r *receiver) misbehave(ctx context.Context, h *harness) {
	for ctx.Err() == nil {
		for _, mode := range []string{"refuse", "500", "hang"} {
			pause.For(ctx, h.between(6, 12))
			if ctx.Err() != nil {
				break
			}
			h.count("webhook receiver: "+mode, 1)
			if mode == "refuse" {
				r.close()
				pause.For(ctx, h.between(2, 4))
				if err := r.open(context.WithoutCancel(ctx)); err != nil {
					h.sayf("the receiver does not come back: %v", err)
				}
				continue
			}
			r.setMode(mode)
			pause.For(ctx, h.between(4, 8))
			r.setMode("")
		}
	}
}

// deliveries returns the webhooks of each video.
func (r *receiver) deliveries() map[string][]delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[string][]delivery{}
	for _, d := range r.log {
		by[d.video] = append(by[d.video], d)
	}
	return by
}
