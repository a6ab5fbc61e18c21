package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/reelmill/reelmill/pipeline/client"
)

// compareReads reads single videos of a large catalog, beside a handler that answers the same bytes. Both get
// such requests from the same clients, and each answer is compared.
func (b *apiBench) compareReads(ctx context.Context) error {
	ours, err := b.serveAPI(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	ids, err := fill(ctx, ours.url, b.videos)
	if err != nil {
		return err
	}
	b.say("%d videos are in the catalog, after %.0f s", len(ids), time.Since(begun).Seconds())
	answers, err := readAll(ctx, ours.url, ids)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(answers)
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "answers.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	peer, err := b.peer(ctx, peerAnswer, "--file", file)
	if err != nil {
		return err
	}
	us, them := &readers{at: ours, ids: ids, want: answers}, &readers{at: peer, ids: ids, want: answers}
	for turn := range b.repeat {
		pair := []*readers{us, them}
		if turn%2 == 1 {
			slices.Reverse(pair)
		}
		for _, r := range pair {
			others, own := watchOthers(), processorTime(r.at.pid)
			if err := r.run(ctx, b.clients, b.requests); err != nil {
				return err
			}
			b.busyOthers("reads", others(processorTime(r.at.pid)-own))
		}
		b.say("%.0f requests/s, the peer %.0f", us.rates[turn], them.rates[turn])
	}
	name := fmt.Sprintf("GET a video of %d, %d clients", b.videos, b.clients)
	b.add(name+": ours", "1/s", us.rates, aim{}, "")
	b.add(name+": net/http alone", "1/s", them.rates, aim{}, "")
	b.add(name+": ours / net/http", "", ratios(us.rates, them.rates), aim{}, "")
	b.add(name+": ours, p99", "ms", us.slow, aim{}, "")
	b.add(name+": net/http alone, p99", "ms", them.slow, aim{}, "")
	b.stopAll()
	return nil
}

// fill uploads so many tiny videos, and returns their ids once all can be read.
func fill(ctx context.Context, url string, videos int) ([]string, error) {
	ids, next := make([]string, videos), atomic.Int64{}
	failed := make([]error, 16)
	var group sync.WaitGroup
	for i := range failed {
		group.Go(func() {
			api := client.New(url, nil)
			for n := next.Add(1); n <= int64(videos); n = next.Add(1) {
				v, err := api.Upload(ctx, client.Upload{
					Reader: strings.NewReader("x"), Name: fmt.Sprintf("film-%05d.mp4", n),
				})
				if err != nil {
					failed[i] = fmt.Errorf("upload: %w", err)
					return
				}
				ids[n-1] = v.ID
			}
		})
	}
	group.Wait()
	return ids, errors.Join(failed...)
}

// readAll reads each video, and returns the answers by path.
func readAll(ctx context.Context, base string, ids []string) (map[string][]byte, error) {
	answers := map[string][]byte{}
	for _, id := range ids {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+pathOf(id), nil)
		if err != nil {
			return nil, err
		}
		if answers[pathOf(id)], _, err = call(http.DefaultClient, req, http.StatusOK); err != nil {
			return nil, err
		}
	}
	return answers, nil
}

func pathOf(id string) string { return "/v1/videos/" + id }

// readers read videos of one server.
type readers struct {
	at    *process
	ids   []string
	want  map[string][]byte // the answers, by path
	rates []float64         // requests a second of each run
	slow  []float64         // milliseconds that 1 of 100 requests takes longer than, of each run
}

// run makes so many requests by so many clients, of which each has a connection.
func (r *readers) run(ctx context.Context, clients, requests int) error {
	at, err := url.Parse(r.at.url)
	if err != nil {
		return err
	}
	var left atomic.Int64
	left.Store(int64(requests))
	took, failed := make([][]time.Duration, clients), make([]error, clients)
	var group sync.WaitGroup
	begun := time.Now()
	for i := range clients {
		group.Go(func() { took[i], failed[i] = r.read(ctx, at.Host, &left) })
	}
	group.Wait()
	seconds := time.Since(begun).Seconds()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	r.rates = append(r.rates, float64(requests)/seconds)
	r.slow = append(r.slow, all[len(all)*99/100].Seconds()*1000)
	return nil
}

// read is one client. It speaks HTTP by itself, since that of net/http would cost more than the servers.
func (r *readers) read(ctx context.Context, host string, left *atomic.Int64) (
	took []time.Duration, err error,
) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // its reader notices
	in, body := bufio.NewReader(conn), []byte{}
	for left.Add(-1) >= 0 {
		path := pathOf(r.ids[rand.IntN(len(r.ids))])
		begun := time.Now()
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
			return nil, err
		}
		length, err := readHead(in)
		if err != nil {
			return nil, err
		}
		body = slices.Grow(body[:0], length)[:length]
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		if !bytes.Equal(body, r.want[path]) {
			return nil, fmt.Errorf("%s is %.300q, want %.300q", path, body, r.want[path])
		}
	}
	return took, nil
}

// readHead reads the head of an answer, and returns the length of its body.
func readHead(in *bufio.Reader) (length int, err error) {
	length = -1
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		line = bytes.TrimSpace(line)
		switch {
		case err != nil:
			return 0, err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
			return 0, fmt.Errorf("the answer is %.100q", line)
		case len(line) == 0 && length < 0:
			return 0, errors.New("the answer has no Content-Length")
		case len(line) == 0:
			return length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if !first && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
}
