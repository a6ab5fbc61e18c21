package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/workers"
)

// contest is a clip on which ReelMill runs against its peers.
type contest struct {
	form    form
	seconds float64
	peers   string  // A, AB or ABC
	aims    [3]aim  // of ours/A, ours/B and ours/C
	memory  float64 // seconds of the clip, if memory is compared on it
}

var contests = []contest{
	{encodeForm, 20, "ABC", [3]aim{atMost(1), atMost(0.75)}, 0},
	{encodeForm, 60, "ABC", [3]aim{atMost(1), atMost(0.75)}, 60},
	{encodeForm, 300, "AB", [3]aim{atMost(1), atMost(0.75)}, 300},
	{standardForm, 60, "A", [3]aim{atMost(0.55)}, 0},
	{standardForm, 300, "A", [3]aim{atMost(0.55)}, 0},
}

// ready measures the time to video.ready, and memory and scratch in the same runs.
func (b *bench) ready(ctx context.Context) error {
	for _, c := range contests {
		if !b.wants("ready") && c.memory == 0 {
			continue // memory only
		}
		if !b.wants("ready") {
			c.peers = ""
		}
		if err := b.contest(ctx, c); err != nil {
			return err
		}
	}
	if b.wants("memory") {
		b.memoryRows()
	}
	return nil
}

// contest runs ours and the peers in turns, and makes the rows.
func (b *bench) contest(ctx context.Context, c contest) error {
	source, err := b.clips.get(ctx, c.form, c.seconds, "aac")
	if err != nil {
		return err
	}
	all := map[string][]outcome{}
	for n := range b.runs(c.seconds) {
		s, ours, err := b.ours(ctx, source, c)
		if err != nil {
			return err
		}
		b.tell(n, ours)
		all["ours"] = append(all["ours"], ours)
		if c.peers == "" {
			continue
		}
		if err := b.calibrate(ctx, renditionsOf(s.plan)); err != nil {
			return err
		}
		for _, who := range strings.Split(c.peers, "") {
			o, err := b.peer(ctx, who, source, renditionsOf(s.plan), b.threads)
			if err != nil {
				return err
			}
			b.tell(n, o)
			all[who] = append(all[who], o)
		}
	}
	b.contestRows(fmt.Sprintf("ready %s %gs", c.form.name, c.seconds), c, all)
	return nil
}

// tell prints the outcome of a run.
func (b *bench) tell(n int, o outcome) {
	b.outcomes = append(b.outcomes, o)
	b.say("%-22s %d %-5s %8.2f s %8.2f s of processor, %.1f MB of pictures", o.Clip, n+1, o.Who, o.Seconds,
		o.CPU, float64(o.Bytes)/1e6)
	b.busyOthers(fmt.Sprintf("%s, %s, run %d", o.Clip, o.Who, n+1), o.Others)
}

// ours sends a clip through a fresh server.
func (b *bench) ours(ctx context.Context, source clip, c contest) (*story, outcome, error) {
	o := outcome{Who: "ours", Clip: source.name}
	server, err := b.serve(ctx)
	if err != nil {
		return nil, o, err
	}
	defer server.stop()
	seen := watch(ctx, server)
	others, cpu := watchOthers(), processorTime(server.pid)
	s, err := b.follow(ctx, server.url, source, "", pipeline.VideoReady, nil)
	if err != nil {
		seen()
		return nil, o, err
	}
	o.Seconds, o.CPU = s.took(s.begun, pipeline.VideoReady), processorTime(server.pid)-cpu
	o.Others = others(o.CPU)
	if p := seen(); c.memory > 0 {
		key := fmt.Sprint(c.memory)
		b.peaks[key] = b.peaks[key].most(p)
	}
	if o.Bytes, err = pictureBytes(ctx, server.url, s.id); err != nil {
		return nil, o, err
	}
	if copies(s.plan) != (c.form == standardForm) {
		b.warn("clip %s should test the opposite: a rung is copied: %t", source.name, copies(s.plan))
	}
	return s, o, nil
}

// pictureBytes returns the bytes of the video renditions.
func pictureBytes(ctx context.Context, url, id string) (sum int64, err error) {
	outputs, err := client.New(url, nil).Outputs(ctx, id)
	for _, o := range outputs {
		if o.Kind == pipeline.KindRendition {
			sum += o.Size
		}
	}
	return sum, err
}

// peer runs A or B, and removes the outputs.
func (b *bench) peer(ctx context.Context, who string, source clip, rungs []workers.Rendition, threads int) (
	outcome, error,
) {
	p := peerJob{
		source: source.path, seconds: source.seconds, rungs: rungs, dir: filepath.Join(b.dir, "peer"),
		threads: threads, plain: who == "C",
	}
	defer os.RemoveAll(p.dir)
	commands := p.one()
	if who == "B" {
		p.threads = 0
		commands = p.each()
	}
	o, err := p.run(ctx, commands)
	o.Who, o.Clip = who, source.name
	return o, err
}

// calibrate finds once the number of threads with which A is fastest on the shortest clip.
func (b *bench) calibrate(ctx context.Context, rungs []workers.Rendition) error {
	if b.tried != nil {
		return nil
	}
	source, err := b.clips.get(ctx, encodeForm, 20, "aac")
	if err != nil {
		return err
	}
	b.tried = map[string]float64{}
	cores, best := runtime.NumCPU(), math.Inf(1)
	tries := []int{0, 1, 2, cores, 2 * cores}
	slices.Sort(tries)
	for _, threads := range slices.Compact(tries) {
		o, err := b.peer(ctx, "A", source, rungs, threads)
		if err != nil {
			return err
		}
		name := fmt.Sprint(threads)
		if threads == 0 {
			name = "auto"
		}
		b.tried[name] = o.Seconds
		b.say("calibrate A: threads %-4s %.2f s", name, o.Seconds)
		if o.Seconds < best {
			best, b.threads = o.Seconds, threads
		}
	}
	return nil
}

// contestRows makes the rows of a contest from its runs.
func (b *bench) contestRows(name string, c contest, all map[string][]outcome) {
	seconds := func(o outcome) float64 { return o.Seconds }
	cpu := func(o outcome) float64 { return o.CPU }
	ours := values(all["ours"], seconds)
	if !b.wants("ready") {
		return
	}
	b.add(name+": ours", "s", ours, aim{}, "")
	b.add(name+": ours, processor", "s", values(all["ours"], cpu), aim{}, b.busy(all["ours"]))
	for i, who := range []string{"A", "B", "C"} {
		if len(all[who]) == 0 {
			continue
		}
		b.add(name+": "+who, "s", values(all[who], seconds), aim{}, "")
		b.add(name+": "+who+", processor", "s", values(all[who], cpu), aim{}, b.busy(all[who]))
		b.add(name+": ours/"+who, "", ratios(ours, values(all[who], seconds)), c.aims[i], "")
		more := ratios(values(all["ours"], cpu), values(all[who], cpu))
		b.add(name+": ours/"+who+", processor", "", more, aim{}, "")
	}
}

// busy says which part of the machine's processors the runs used; the rest was idle.
func (b *bench) busy(all []outcome) string {
	cores := median(values(all, func(o outcome) float64 { return o.CPU / o.Seconds }))
	return fmt.Sprintf("%.0f%% of the cores", 100*cores/float64(runtime.NumCPU()))
}

func values[T any](all []T, of func(T) float64) []float64 {
	var v []float64
	for _, o := range all {
		v = append(v, of(o))
	}
	return v
}

// steady is the largest ratio of a longer clip's memory to a shorter one's that counts as equal. Samples are
// taken every quarter of a second, and vary.
const steady = 1.10

// memoryRows compares the peaks of the two clips.
func (b *bench) memoryRows() {
	short, long := b.peaks["60"], b.peaks["300"]
	largest := "at 60 s " + short.Largest + ", at 5 min " + long.Largest
	for _, p := range []struct {
		what        string
		short, long int64
		aim         aim
		note        string
	}{
		{"memory of an encoder, which is one slot's", short.Encoder, long.Encoder, atMost(steady), ""},
		{"memory of any other ffmpeg", short.Other, long.Other, atMost(steady), ""},
		{"memory of the server", short.Server, long.Server, aim{}, ""},
		{"scratch of a chunk", short.Chunk, long.Chunk, atMost(steady), ""},
		{"scratch of any other job", short.OtherJob, long.OtherJob, atMost(steady), largest},
		{"scratch in all", short.Scratch, long.Scratch, aim{}, ""},
	} {
		b.add(p.what+", 60 s clip", "MB", []float64{float64(p.short) / 1e6}, aim{}, "")
		b.add(p.what+", 5 min clip", "MB", []float64{float64(p.long) / 1e6}, aim{}, "")
		grown := ratios([]float64{float64(p.long)}, []float64{float64(p.short)})
		b.add(p.what+", 5 min/60 s", "", grown, p.aim, p.note)
	}
}
