package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// sampleEvery is how often the memory of a process is sampled.
const sampleEvery = 50 * time.Millisecond

// measureUploads measures the memory of the server, and of tusd, while many uploads run at once.
func (b *apiBench) measureUploads(ctx context.Context) error {
	ours := func() (*process, error) { return b.serveAPI(ctx) }
	tusd := func() (*process, error) { return b.peer(ctx, peerTusd) }
	for i, start := range []func() (*process, error){ours, tusd} {
		name := []string{"ours", "tusd"}[i]
		server, err := start()
		if err != nil {
			return err
		}
		pause.For(ctx, time.Second) // what the start takes is given back
		rest := residentSet(server.pid)
		begun := time.Now()
		peak, err := b.atOnce(ctx, server)
		if err != nil {
			return err
		}
		b.say("%s: %.0f MB at rest, %.0f MB with %d uploads, which took %.0f s", name, mb(rest), mb(peak),
			b.uploads, time.Since(begun).Seconds())
		title := fmt.Sprintf("memory, %d uploads of %s: %s", b.uploads, b.each, name)
		b.add(title+" at rest", "MB", []float64{mb(rest)}, aim{}, "")
		b.add(title+", peak", "MB", []float64{mb(peak)}, aim{}, "")
		b.add(title+", for each upload", "MB", []float64{mb(peak-rest) / float64(b.uploads)}, aim{}, "")
		server.stop()
	}
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// atOnce sends the uploads, and returns the highest memory of the server meanwhile.
func (b *apiBench) atOnce(ctx context.Context, server *process) (peak int64, err error) {
	f, err := os.Open(b.source.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sampling, stop := context.WithCancel(ctx)
	var sampler, group, begun sync.WaitGroup
	sampler.Go(func() {
		for ; sampling.Err() == nil; pause.For(sampling, sampleEvery) {
			peak = max(peak, residentSet(server.pid))
		}
	})
	failed := make([]error, b.uploads)
	begun.Add(b.uploads)
	for i := range failed {
		group.Go(func() {
			body := &barrier{
				r: io.NewSectionReader(f, 0, int64(b.each)), passed: sync.OnceFunc(begun.Done), wait: begun.Wait,
			}
			defer body.passed() // the others must not wait for one that failed
			failed[i] = b.sendOne(ctx, clientFrom(i), server.url, body)
		})
	}
	group.Wait()
	stop()
	sampler.Wait()
	return peak, errors.Join(failed...)
}

// barrier is a body whose first bytes go out at once, and the rest when all others have begun: so all run at
// the same time.
type barrier struct {
	r      io.Reader
	passed func()
	wait   func()
	begun  bool
}

// Read implements io.Reader.
func (b *barrier) Read(p []byte) (int, error) {
	if b.begun {
		b.passed()
		b.wait()
		return b.r.Read(p)
	}
	b.begun = true
	return b.r.Read(p[:min(len(p), 1024)])
}

// loopback returns the address of the client number i. The server lets no single address take all its
// connections.
func loopback(i int) net.IP { return net.IPv4(127, 0, 1, byte(1+i%16)) }

// clientFrom returns a client with one connection, from the address of the client number i.
func clientFrom(i int) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: loopback(i)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

// sendOne uploads the body with one PATCH.
func (b *apiBench) sendOne(ctx context.Context, by *http.Client, base string, body io.Reader) error {
	at, err := createByTus(ctx, by, base, int64(b.each))
	if err != nil {
		return err
	}
	return patchByTus(ctx, by, at, body, 0, int64(b.each))
}
