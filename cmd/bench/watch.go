package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/reelmill/reelmill/pipeline/pause"
)

// watchEvery is how often a server is sampled. VmHWM is a peak, so samples of a process miss at most its
// growth in the last quarter of a second.
const watchEvery = 250 * time.Millisecond

// peaks are the highest sampled values of a server.
type peaks struct {
	Server   int64  `json:"server_bytes"`     // resident memory of the server itself
	Encoder  int64  `json:"encoder_bytes"`    // of the largest ffmpeg that encoded pictures, for one slot
	Other    int64  `json:"other_bytes"`      // of the largest other ffmpeg
	Chunk    int64  `json:"chunk_scratch"`    // bytes below the scratch folder of one chunk's attempt
	OtherJob int64  `json:"other_scratch"`    // of one attempt at any other job
	Largest  string `json:"largest_scratch"`  // that job
	Scratch  int64  `json:"scratch_bytes"`    // of all at once
	Encoders int    `json:"encoders_at_once"` // most ffmpegs that encoded pictures at the same time
}

// watch samples a server until its result is called, which returns the peaks.
func watch(ctx context.Context, server *process) func() peaks {
	ctx, stop := context.WithCancel(ctx)
	w := &watcher{server: server, encodes: map[uint64]bool{}}
	var group sync.WaitGroup
	group.Go(func() {
		for ; ctx.Err() == nil; pause.For(ctx, watchEvery) {
			w.look()
		}
	})
	return func() peaks {
		stop()
		group.Wait()
		return w.seen
	}
}

type watcher struct {
	server  *process
	seen    peaks
	encodes map[uint64]bool // by start time: whether a child encodes pictures
}

func (w *watcher) look() {
	w.seen.Server = max(w.seen.Server, peakRSS(w.server.pid))
	encoders := 0
	for pid, stat := range children(w.server.pid) {
		encodes, known := w.encodes[stat.start]
		if !known {
			line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil || !bytes.Contains(line, []byte("ffmpeg")) {
				continue // before exec it still has the name of the server
			}
			encodes = bytes.Contains(line, []byte("libx264"))
			w.encodes[stat.start] = encodes
		}
		if encodes {
			w.seen.Encoder = max(w.seen.Encoder, peakRSS(pid))
			encoders++
		} else {
			w.seen.Other = max(w.seen.Other, peakRSS(pid))
		}
	}
	w.seen.Encoders = max(w.seen.Encoders, encoders)
	w.scratch()
}

// scratch measures the folder of each attempt, whose name is its job and a number.
func (w *watcher) scratch() {
	entries, err := os.ReadDir(filepath.Join(w.server.data, "scratch"))
	if err != nil {
		return
	}
	var all int64
	for _, e := range entries {
		size := folderSize(filepath.Join(w.server.data, "scratch", e.Name()))
		all += size
		if isChunk(e.Name()) {
			w.seen.Chunk = max(w.seen.Chunk, size)
		} else if size > w.seen.OtherJob {
			w.seen.OtherJob, w.seen.Largest = size, jobOf(e.Name())
		}
	}
	w.seen.Scratch = max(w.seen.Scratch, all)
}

// jobOf returns the job of an attempt's folder.
func jobOf(folder string) string {
	if i := strings.LastIndexByte(folder, '-'); i >= 0 {
		return folder[:i]
	}
	return folder
}

// isChunk reports whether a job, or the folder of an attempt such as transcode-0003-217, is of a chunk.
func isChunk(name string) bool {
	rest, ok := strings.CutPrefix(name, "transcode-")
	part, _, _ := strings.Cut(rest, "-")
	return ok && (part == "first" || len(part) == 4 && strings.Trim(part, "0123456789") == "")
}

// most returns the highest values of two runs.
func (p peaks) most(q peaks) peaks {
	largest := p.Largest
	if q.OtherJob > p.OtherJob {
		largest = q.Largest
	}
	return peaks{
		Largest: largest,
		Server:  max(p.Server, q.Server), Encoder: max(p.Encoder, q.Encoder), Other: max(p.Other, q.Other),
		Chunk: max(p.Chunk, q.Chunk), OtherJob: max(p.OtherJob, q.OtherJob), Scratch: max(p.Scratch, q.Scratch),
		Encoders: max(p.Encoders, q.Encoders),
	}
}
