package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/reelmill/reelmill/pipeline"
)

// costs are the measured costs of a machine that the simulation uses: medians for one slot with one thread.
type costs struct {
	Date    string `json:"date"`
	Machine string `json:"machine"`
	// Jobs are the seconds from job.started to job.completed, by kind (planned.costKind). Per is the cost of a
	// unit of work (planned.amount): a megapixel to encode, a second of audio or of video. Fixed is the other
	// cost of a job: starting ffmpeg, decoding up to the first frame, cutting, verifying, storing.
	Jobs map[string]line `json:"jobs"`
	// Next is the time from the completion of a job to the start of the next one, which waits already, in one
	// slot. Unblock is the time from the completion of a job to the start of one that waited for it, in an idle
	// slot.
	Next    float64 `json:"next"`
	Unblock float64 `json:"unblock"`
	// Writes is how many messages the broker stores for a job, events and tasks. Broker is how many messages of
	// 1 KiB it stores and syncs in a second, from 64 publishers.
	Writes float64 `json:"writes"`
	Broker float64 `json:"broker"`
}

// costClips are the clips for measuring costs. Lines need two lengths. The long clip is not transcoded.
var costClips = []struct {
	form     form
	seconds  float64
	pipeline string
	once     bool
}{
	{encodeForm, 20, "costs", false}, {encodeForm, 60, "costs", false}, {encodeForm, 1800, "quick", true},
	{standardForm, 20, "costs", true}, {standardForm, 60, "costs", true},
}

// samples are the measured values of the stories.
type samples struct {
	work, took    map[string][]float64 // by kind, a value for each job
	next, unblock []float64
	writes        []float64
}

// measureCosts sends clips through one worker, one kind of job at a time.
func (b *bench) measureCosts(ctx context.Context) error {
	all := &samples{work: map[string][]float64{}, took: map[string][]float64{}}
	var broker []float64
	for n := range min(3, b.repeat) {
		for _, c := range costClips {
			if c.once && n > 0 {
				continue
			}
			source, err := b.clips.get(ctx, c.form, c.seconds, "aac")
			if err != nil {
				return err
			}
			rate, err := b.costsOf(ctx, source, c.pipeline, all)
			if err != nil {
				return err
			}
			broker = append(broker, rate)
			b.say("%-22s %d costs; the broker stores %.0f messages/s", source.name, n+1, rate)
		}
	}
	b.costs = all.costs()
	b.costs.Date, b.costs.Machine = b.began.Format(time.DateOnly), b.machine.CPU
	b.costs.Broker = median(broker)
	b.costRows(all, broker)
	return nil
}

// costsOf adds the samples of one clip, and returns the broker's rate.
func (b *bench) costsOf(ctx context.Context, source clip, name string, all *samples) (float64, error) {
	s, err := b.newSite(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if err := s.addWorker(ctx); err != nil {
		return 0, err
	}
	conn, err := nats.Connect(s.broker.ClientURL())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	before, err := written(ctx, conn)
	if err != nil {
		return 0, err
	}
	others, cpu := watchOthers(), s.processorTime()
	v, err := b.follow(ctx, s.server.url, source, name, pipeline.VideoReady, nil)
	if err != nil {
		return 0, err
	}
	b.busyOthers("costs "+source.name, others(s.processorTime()-cpu))
	after, err := written(ctx, conn)
	if err != nil {
		return 0, err
	}
	all.writes = append(all.writes, float64(after-before)/float64(len(v.plan)+1)) // and inspection
	all.add(v)
	s.workers[0].stop()
	return syncedWrites(ctx, conn, 2000)
}

// add adds the times of one story. With a copied rung it adds the copy only, since the chunks then have fewer
// rungs for the same decoding, and the keyframes are closer.
func (s *samples) add(v *story) {
	jobs := map[string]planned{"inspect": {Job: pipeline.Job{Worker: "inspect"}, amount: v.seconds}}
	for _, j := range v.plan {
		jobs[j.Name] = j
	}
	done := slices.DeleteFunc(v.attempts(), func(a attempt) bool { return a.ended.IsZero() })
	ended, copied := map[string]time.Time{}, copies(v.plan)
	for _, a := range done {
		kind := jobs[a.job].costKind()
		ended[a.job] = a.ended
		if copied && kind != copyKind {
			continue
		}
		s.work[kind] = append(s.work[kind], jobs[a.job].amount)
		s.took[kind] = append(s.took[kind], a.ended.Sub(a.started).Seconds())
	}
	for i, a := range done {
		var blocked time.Time // until then
		for _, before := range jobs[a.job].After {
			if ended[before].After(blocked) {
				blocked = ended[before]
			}
		}
		if !blocked.IsZero() && i > 0 && !isChunk(a.job) {
			s.unblock = append(s.unblock, a.started.Sub(blocked).Seconds())
		}
		if before, ok := chunkBefore(done, a); ok {
			s.next = append(s.next, a.started.Sub(before).Seconds())
		}
	}
}

// chunkBefore returns when the previous chunk in the slot of a chunk ended. The job "first" and the chunk
// that began beside it do not count, since "first" has a slot for urgent jobs.
func chunkBefore(done []attempt, a attempt) (time.Time, bool) {
	var last time.Time
	if !isChunk(a.job) || a.job == "transcode-first" {
		return last, false
	}
	for _, b := range done {
		if isChunk(b.job) && b.job != "transcode-first" && b.started.Before(a.started) && b.ended.After(last) {
			last = b.ended
		}
	}
	return last, !last.IsZero() && last.Before(a.started)
}

// costs turns samples into medians and lines; 0 without samples.
func (s *samples) costs() *costs {
	known := func(values []float64) float64 {
		if len(values) == 0 {
			return 0
		}
		return max(0, median(values))
	}
	c := &costs{
		Jobs: map[string]line{}, Next: known(s.next), Unblock: known(s.unblock), Writes: known(s.writes),
	}
	for kind := range s.work {
		c.Jobs[kind] = fit(s.medians(kind))
	}
	return c
}

// medians returns the amounts of work of a kind, and the median seconds of the jobs with that amount.
func (s *samples) medians(kind string) (work, took []float64) {
	by := map[float64][]float64{}
	for i, w := range s.work[kind] {
		w = math.Round(w*1e3) / 1e3
		by[w] = append(by[w], s.took[kind][i])
	}
	for w := range by {
		work = append(work, w)
	}
	slices.Sort(work)
	for _, w := range work {
		took = append(took, median(by[w]))
	}
	return work, took
}

// costRows returns the costs as rows of the table.
func (b *bench) costRows(all *samples, broker []float64) {
	for _, kind := range sortedKeys(b.costs.Jobs) {
		l, per := b.costs.Jobs[kind], "second of video"
		if kind == chunkKind {
			per = "megapixel"
		}
		note := fmt.Sprintf("%.3f s and %.4f s for each %s", l.Fixed, l.Per, per)
		b.add("costs: "+kind, "s", all.took[kind], aim{}, note)
	}
	b.add("costs: from a chunk to the slot's next", "s", all.next, aim{}, "")
	b.add("costs: from a job to one that waited for it", "s", all.unblock, aim{}, "")
	b.add("costs: messages stored for a job", "", all.writes, aim{}, "")
	b.add("costs: synced messages", "1/s", broker, aim{}, "64 publishers, 1 KiB")
}

// written returns how many messages the broker has stored in the streams of the pipeline (pipeline/bus).
func written(ctx context.Context, conn *nats.Conn) (sum uint64, err error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"EVENTS", "TASKS", "DEAD"} {
		s, err := js.Stream(ctx, name)
		if err != nil {
			return 0, fmt.Errorf("stream %s: %w", name, err)
		}
		sum += s.CachedInfo().State.LastSeq
	}
	return sum, nil
}

// syncedWrites sends n messages of 1 KiB from 64 publishers, and returns how many a second were stored and
// synced.
func syncedWrites(ctx context.Context, conn *nats.Conn, n int64) (float64, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "RAW", Subjects: []string{"raw.>"}})
	if err != nil {
		return 0, err
	}
	var left, failed atomic.Int64
	left.Store(n)
	begun := time.Now()
	var publishers sync.WaitGroup
	for range 64 {
		publishers.Go(func() {
			for i := left.Add(-1); i >= 0; i = left.Add(-1) {
				if _, err := js.Publish(ctx, fmt.Sprintf("raw.%d", i), make([]byte, 1024)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	publishers.Wait()
	return float64(n-failed.Load()) / time.Since(begun).Seconds(), ctx.Err()
}
