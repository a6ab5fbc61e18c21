package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bait listens on loopback, by TCP and UDP at the same port, and counts who comes.
type bait struct {
	url   string
	tcp   net.Listener
	udp   net.PacketConn
	count atomic.Int64
}

func newBait() (*bait, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it returns at once
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String()) //nolint:noctx // likewise
	if err != nil {
		tcp.Close()
		return nil, err
	}
	b := &bait{url: "http://" + tcp.Addr().String(), tcp: tcp, udp: udp}
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return // closed
			}
			b.count.Add(1)
			conn.Close()
		}
	}()
	go func() {
		var packet [1]byte
		for {
			if _, _, err := udp.ReadFrom(packet[:]); err != nil {
				return // closed
			}
			b.count.Add(1)
		}
	}()
	return b, nil
}

// touched returns how many connections and packets came.
func (b *bait) touched() int { return int(b.count.Load()) }

func (b *bait) close() {
	b.tcp.Close()
	_ = b.udp.Close() // nothing was written
}

// filesOutside lists the files and folders of a run that are neither objects nor what the server keeps for
// itself: everything that a video could leave somewhere else.
func filesOutside(dir string) (all []string, err error) {
	own := []string{"objects", "scratch", "broker"}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		inside, isData := strings.CutPrefix(rel, "data"+string(filepath.Separator))
		top, _, deeper := strings.Cut(inside, string(filepath.Separator))
		switch {
		case isData && (deeper || d.IsDir()) && slices.Contains(own, top), rel == "files":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		all = append(all, rel)
		return nil
	})
	return all, err
}

// filesWith lists the files below a folder that have one of the texts, except in folders of a name.
func filesWith(dir, except string, texts ...string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreGone(err)
		}
		if d.IsDir() {
			if d.Name() == except {
				return fs.SkipDir
			}
			return nil
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		if slices.ContainsFunc(texts, func(t string) bool { return bytes.Contains(raw, []byte(t)) }) {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// memoryWatch samples the largest resident memory of a server and of the processes that it starts, by the
// video whose file they read.
type memoryWatch struct {
	end  context.CancelFunc
	done chan struct{}

	mu     sync.Mutex
	peaks  map[string]int64 // by command line
	parent int64
}

// sampleEvery is the time between two samples.
const sampleEvery = 20 * time.Millisecond

func watchMemory(ctx context.Context, server int) *memoryWatch {
	ctx, end := context.WithCancel(ctx)
	w := &memoryWatch{end: end, done: make(chan struct{}), peaks: map[string]int64{}}
	go func() {
		defer close(w.done)
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				w.sample(server)
			}
		}
	}()
	return w
}

func (w *memoryWatch) sample(server int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parent = max(w.parent, peakOf(server))
	for _, pid := range descendants(server) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		w.peaks[string(line)] = max(w.peaks[string(line)], peakOf(pid))
	}
}

// descendants lists the processes that a process started, and those that they started.
func descendants(of int) (all []int) {
	for _, pid := range children(of) {
		all = append(append(all, pid), descendants(pid)...)
	}
	return all
}

// peakOf returns the largest resident memory of a process so far, in bytes; 0 if unknown.
func peakOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, found := strings.Cut(string(raw), "VmHWM:")
	fields := strings.Fields(rest)
	if !found || len(fields) == 0 {
		return 0
	}
	kilobytes, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}

// of returns the largest memory of a process that read a file of a video.
func (w *memoryWatch) of(video string) (peak int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for line, p := range w.peaks {
		if strings.Contains(line, video) {
			peak = max(peak, p)
		}
	}
	return peak
}

// most returns the largest memory of any process that the server started; server that of the server.
func (w *memoryWatch) most() (peak int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.peaks {
		peak = max(peak, p)
	}
	return peak
}

func (w *memoryWatch) server() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.parent
}

func (w *memoryWatch) stop() {
	w.end()
	<-w.done
}
