package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/pipeline/pause"
)

// measureSubscribers measures the memory of a server with many idle event streams, which another process
// reads. Then it makes an event, which each of them must get, once.
func (b *apiBench) measureSubscribers(ctx context.Context) error {
	server, err := b.serveAPI(ctx)
	if err != nil {
		return err
	}
	pause.For(ctx, time.Second) // what the start takes is given back
	rest := residentSet(server.pid)
	others, begun := b.subscribe(ctx, server.url)
	if err := others.await("open", b.subscribers); err != nil {
		return errors.Join(err, others.end())
	}
	b.say("%d event streams are open, after %.1f s", b.subscribers, time.Since(begun).Seconds())
	idle := int64(0)
	for range 20 {
		idle = max(idle, residentSet(server.pid))
		pause.For(ctx, sampleEvery*5)
	}
	begun = time.Now()
	video := client.Upload{Reader: strings.NewReader("x"), Name: "x.mp4"}
	_, err = client.New(server.url, nil).Upload(ctx, video)
	if err == nil {
		err = others.await(string(pipeline.VideoUploaded), b.subscribers)
	}
	if err = errors.Join(err, others.end()); err != nil {
		return err
	}
	seconds, after := time.Since(begun).Seconds(), residentSet(server.pid)
	b.say("one event reached all, after %.2f s", seconds)
	title := fmt.Sprintf("%d event streams", b.subscribers)
	bound := aim{}
	if b.subscribers == 10_000 {
		bound = atMost(300)
	}
	b.add(title+": memory of the server before", "MB", []float64{mb(rest)}, aim{}, "")
	b.add(title+": memory of the server, idle", "MB", []float64{mb(idle)}, bound, "")
	b.add(title+": memory of the server after an event to all", "MB", []float64{mb(after)}, aim{}, "")
	b.add(title+": from the upload of a video to its event at all", "s", []float64{seconds}, aim{}, "")
	b.stopAll()
	return nil
}

// subscription is the process that reads.
type subscription struct {
	cmd    *exec.Cmd
	out    *json.Decoder
	errors strings.Builder
	err    error // of its start
}

// subscribe starts the process that reads, and tells when.
func (b *apiBench) subscribe(ctx context.Context, url string) (*subscription, time.Time) {
	s := &subscription{cmd: exec.CommandContext(ctx, b.self, "subscribers", "-number", fmt.Sprint(b.subscribers),
		"-event", string(pipeline.VideoUploaded), url)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stderr = &s.errors
	s.cmd.Env = plainEnvironment(os.Environ())
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	s.out, s.err = json.NewDecoder(out), err
	return s, time.Now()
}

// told is what the process that reads tells: that so many streams are open, or got the event.
type told struct {
	What   string `json:"what"`
	Number int    `json:"number"`
}

// await waits until the process tells of so many streams.
func (s *subscription) await(what string, number int) error {
	if s.err != nil {
		return s.err
	}
	var got told
	if err := s.out.Decode(&got); err != nil {
		return fmt.Errorf("the subscribers ended: %w", err)
	}
	if got != (told{what, number}) {
		return fmt.Errorf("the subscribers tell %+v, want %s from %d", got, what, number)
	}
	return nil
}

// end ends the process.
func (s *subscription) end() error {
	if s.cmd.Process == nil {
		return nil
	}
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // by a signal
	if text := s.errors.String(); text != "" {
		return errors.New(strings.TrimSpace(text))
	}
	return nil
}

// runSubscribers is the process that reads: it opens event streams, and tells when all are open and when all
// have got an event of a type. It fails when a stream ends, or gets another event before that one, or
// another one than its neighbours. It then keeps the streams open.
func runSubscribers(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("bench subscribers", flag.ContinueOnError)
	number := flags.Int("number", 1, "of streams")
	event := flags.String("event", string(pipeline.VideoUploaded), "that each must get")
	if err := flags.Parse(args); err != nil {
		return err
	}
	at, err := url.Parse(flags.Arg(0))
	if err != nil || flags.NArg() != 1 {
		return fmt.Errorf("name the server, not %q", flags.Args())
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var opened, got sync.WaitGroup
	opened.Add(*number)
	got.Add(*number)
	first := sync.Map{}
	turns := make(chan struct{}, 128) // connections that are opened at once
	for i := range *number {
		go func() {
			turns <- struct{}{}
			in, err := openStream(ctx, at.Host, loopback(i))
			<-turns
			if err != nil {
				stop(fmt.Errorf("open stream %d: %w", i, err))
				return
			}
			opened.Done()
			data, err := readEvent(in, *event)
			if err == nil {
				if other, loaded := first.LoadOrStore("data", data); loaded && other != data {
					err = fmt.Errorf("the event is %.200s, and elsewhere %.200s", data, other)
				}
			}
			if err != nil {
				stop(fmt.Errorf("stream %d: %w", i, err))
				return
			}
			got.Done()
			if data, err = readEvent(in, *event); err == nil {
				stop(fmt.Errorf("stream %d got a second event: %.200s", i, data))
			}
		}()
	}
	tell := json.NewEncoder(out)
	for _, step := range []struct {
		what string
		all  *sync.WaitGroup
	}{{"open", &opened}, {*event, &got}} {
		done := make(chan struct{})
		go func() { step.all.Wait(); close(done) }()
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := tell.Encode(told{step.what, *number}); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// openStream opens the stream of all events, and returns once the server has answered.
func openStream(ctx context.Context, host string, from net.IP) (*bufio.Reader, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // its reader notices
	head := "GET /v1/events/stream HTTP/1.1\r\nHost: " + host + "\r\nAccept: text/event-stream\r\n\r\n"
	if _, err := io.WriteString(conn, head); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 1024)
	for first := true; ; first = false {
		line, err := in.ReadString('\n')
		switch {
		case err != nil:
			return nil, err
		case first && !strings.HasPrefix(line, "HTTP/1.1 200 "):
			return nil, fmt.Errorf("the answer is %.100q", line)
		case strings.TrimSpace(line) == "":
			return bufio.NewReaderSize(httputil.NewChunkedReader(in), 1024), nil
		}
	}
}

// readEvent returns the data of the next event, which must be of a type.
func readEvent(in *bufio.Reader, event string) (string, error) {
	name := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "event: "); ok {
			name = text
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if name != event {
				return "", fmt.Errorf("got a %s: %.200s", name, data)
			}
			return data, nil
		}
	}
}
