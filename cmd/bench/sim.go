package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// The simulation runs real plans through more slots than a test machine has. The costs of jobs are those that
// `bench` measured on one slot. Flags set the assumptions, and the output prints them. The model has the
// latency of the queue, the broker's limit, the store's bandwidth, uneven work, attempts that die, and the
// coordinator's window. It leaves out caches and memory that the slots of a machine share, all of the network
// but its bandwidth, and a broker that slows down before its limit. A slot does any kind of job, one at a
// time; a real machine has slots for each kind, which share its cores.

// simOptions are the flags of a simulation.
type simOptions struct {
	costs   string
	hours   float64
	height  int
	mixed   int
	slots   string
	json    string
	world   world
	machine float64 // MB/s
	store   float64
}

// builtIn are the costs without a file of a run: rounded, from the machine and the day that they name. Others
// used that machine too.
var builtIn = costs{
	Date: "2026-11-21", Machine: "Intel Xeon 2.50GHz, 2 cores, which others used as well",
	Jobs: map[string]line{
		"inspect": {0.38, 0.0002}, "thumbnail:poster": {0.8, 0}, "thumbnail:storyboard": {0.5, 0.07},
		"thumbnail:keyframes": {0.6, 0.0045}, "audio:copy": {1.1, 0.0032}, "audio:encode": {1, 0.02},
		"audio:file": {0.5, 0.001}, "transcode:copy": {1.9, 0.01}, "transcode:chunk": {1, 0.031},
		"packager": {0.015, 0.0001},
	},
	Next: 0.009, Unblock: 0.011, Writes: 3.5, Broker: 4000,
}

func runSim(args []string, w io.Writer) error {
	o, err := parseSim(args)
	if err != nil {
		return err
	}
	c, from, measured, err := readCosts(o.costs)
	if err != nil {
		return err
	}
	o.world.next, o.world.unblock = c.Next, c.Unblock
	o.world.writes = c.Writes + 1 // the ack is synced too
	if o.world.broker == 0 {
		o.world.broker = c.Broker
	}
	o.world.machineBytes, o.world.storeBytes = o.machine*1e6, o.store*1e6
	registry, err := newRegistry()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "costs %s: %s, %s\n", from, c.Machine, c.Date)
	o.describe(w, c)
	var document []simResult
	for _, s := range []struct {
		name   string
		videos func() ([]simVideo, error)
	}{
		{fmt.Sprintf("one video of %g h, %dp", o.hours, o.height), func() ([]simVideo, error) {
			v, err := planVideo(registry, c, simMedia(o.hours*3600, o.height))
			return []simVideo{v}, err
		}},
		{fmt.Sprintf("%d videos of 10 s to 2 h, uploaded at once", o.mixed), func() ([]simVideo, error) {
			return mixedVideos(registry, c, o.mixed, o.world.seed)
		}},
	} {
		videos, err := s.videos()
		if err != nil {
			return err
		}
		if len(videos) == 0 {
			continue
		}
		r, err := o.sweep(s.name, videos)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s", r.table())
		document = append(document, r)
	}
	if measured > 0 {
		fmt.Fprintf(w, "\nmeasured with two workers: %.2f times as fast as one\n", measured)
	}
	return writeSim(o.json, c, document)
}

func parseSim(args []string) (o simOptions, err error) {
	flags := flag.NewFlagSet("bench sim", flag.ContinueOnError)
	flags.StringVar(&o.costs, "costs", "", "file of a bench run; bin/bench.json if it has costs, else built in")
	flags.Float64Var(&o.hours, "hours", 2, "length of the one video; 0 for none")
	flags.IntVar(&o.height, "height", 720, "of the one video, in pixels")
	flags.IntVar(&o.mixed, "mixed", 200, "how many mixed videos; 0 for none")
	flags.StringVar(&o.slots, "slots", "1,2,5,10,20,50,100,200,500,1000", "numbers of slots")
	flags.StringVar(&o.json, "json", "", "file for the result")
	flags.IntVar(&o.world.perMachine, "per-machine", 8, "slots of a machine")
	flags.Float64Var(&o.world.broker, "broker", 0, "synced messages/s of the broker; as measured when 0")
	flags.Float64Var(&o.machine, "machine-bandwidth", 125, "MB/s of a machine, each way; 0: no limit")
	flags.Float64Var(&o.store, "store-bandwidth", 1250, "MB/s of the store, each way; 0: no limit")
	flags.BoolVar(&o.world.ranged, "ranged", false, "chunks read their part of the source: not what workers do")
	flags.Float64Var(&o.world.sigma, "sigma", 0.15, "of the log-normal factor of each job's work")
	flags.Float64Var(&o.world.failEvery, "fail-every", 1000, "one attempt in so many dies; 0: none")
	flags.Float64Var(&o.world.lease, "lease", 60, "seconds until that is noticed")
	flags.Uint64Var(&o.world.seed, "seed", 1, "of work, failures and lengths")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.hours < 0 || o.mixed < 0 || o.height < 16 || o.world.sigma < 0 {
		return o, errors.New("-hours, -mixed, -height or -sigma is not usable")
	}
	_, err = parseSlots(o.slots)
	return o, err
}

// parseSlots reads numbers separated by commas.
func parseSlots(text string) (all []int, err error) {
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-slots: %q is no number of slots", word)
		}
		all = append(all, n)
	}
	return all, nil
}

// lastRun is the file that `bench` writes.
const lastRun = "bin/bench.json"

// readCosts returns the costs of a run and their source. measured is how much faster two workers were than
// one in it, 0 if not measured. Missing costs are the built-in ones. Unless the file is named, readCosts
// ignores a run with scaled clips, whose costs are not realistic.
func readCosts(file string) (c costs, from string, measured float64, err error) {
	named := file != ""
	if !named {
		file = lastRun
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && !named {
		return builtIn, "built in", 0, nil
	}
	if err != nil {
		return c, "", 0, err
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return c, "", 0, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case d.Costs == nil && named:
		return c, "", 0, fmt.Errorf("%s has no costs: run bench with -only costs", file)
	case d.Costs == nil, d.Settings.Scale != 1 && !named:
		return builtIn, "built in", 0, nil
	}
	for _, r := range d.Rows {
		if strings.HasPrefix(r.Name, "scaling") && strings.HasSuffix(r.Name, "one/two") {
			measured = r.Median
		}
	}
	return d.Costs.completed(), "of " + file, measured, nil
}

// completed returns the costs, with the built-in ones where they are missing.
func (c costs) completed() costs {
	jobs := map[string]line{}
	for kind, l := range builtIn.Jobs {
		jobs[kind] = l
	}
	for kind, l := range c.Jobs {
		jobs[kind] = l
	}
	c.Jobs = jobs
	for _, f := range []struct{ value, from *float64 }{
		{&c.Next, &builtIn.Next}, {&c.Unblock, &builtIn.Unblock}, {&c.Writes, &builtIn.Writes},
		{&c.Broker, &builtIn.Broker},
	} {
		if *f.value == 0 {
			*f.value = *f.from
		}
	}
	return c
}

// describe prints the assumptions.
func (o simOptions) describe(w io.Writer, c costs) {
	for _, kind := range sortedKeys(c.Jobs) {
		per := "second of video"
		if kind == chunkKind {
			per = "megapixel"
		}
		fmt.Fprintf(w, "  %-18s %.3f s + %.5f s for each %s\n", kind, c.Jobs[kind].Fixed, c.Jobs[kind].Per, per)
	}
	x := o.world
	fmt.Fprintf(w, "  a slot needs %.0f ms between jobs, a task %.0f ms to become ready; %.1f synced writes "+
		"for a job, %.0f/s at most\n", 1e3*x.next, 1e3*x.unblock, x.writes, x.broker)
	reads := "each machine reads a source once, as a whole"
	if x.ranged {
		reads = "each chunk reads its part of the source"
	}
	fmt.Fprintf(w, "  %d slots on a machine; %s; %g MB/s for each machine, %g MB/s for all\n", x.perMachine,
		reads, o.machine, o.store)
	fmt.Fprintf(w, "  work varies by a log-normal factor of sigma %g; one attempt in %g dies, noticed after "+
		"%g s; window max(4, 2 x slots); seed %d\n", x.sigma, x.failEvery, x.lease, x.seed)
}

// planVideo returns the jobs of the default pipeline for m, with their costs.
func planVideo(registry *workers.Registry, c costs, m pipeline.Media) (simVideo, error) {
	jobs, err := pipeline.NewPlan(pipeline.Default(), nil, m, registry)
	if err != nil {
		return simVideo{}, err
	}
	plan, err := describe(registry, jobs, m)
	if err != nil {
		return simVideo{}, err
	}
	inspect := simJob{worker: "inspect", high: true, reads: true, fixed: c.Jobs["inspect"].at(m.Duration)}
	v := simVideo{source: float64(m.Size), jobs: []simJob{inspect}}
	index := map[string]int{}
	for i, j := range plan {
		index[j.Name] = i + 1
	}
	for _, j := range plan {
		kind := j.costKind()
		l, ok := c.Jobs[kind]
		if !ok {
			return v, fmt.Errorf("nobody knows what a job of kind %q costs", kind)
		}
		job := simJob{
			worker: j.Worker, high: j.Priority == pipeline.High, wide: kind == chunkKind, fixed: l.Fixed,
			work: l.Per * j.amount, after: []int{0}, reads: j.End > j.Start,
		}
		if job.wide {
			job.share, job.bytes = (j.End-j.Start)/m.Duration, float64(j.Bytes)
		}
		for _, before := range j.After {
			job.after = append(job.after, index[before])
		}
		v.jobs = append(v.jobs, job)
	}
	return v, nil
}

// simMedia is a film with H.264 and AAC, and a keyframe every 10 s, as x264 does by default at 25 frames/s.
// No segment can begin at these keyframes, so all rungs are encoded.
func simMedia(seconds float64, height int) pipeline.Media {
	bits := clipBits * math.Pow(float64(height)/720, 1.5)
	width := height * 16 / 9 / 2 * 2
	return pipeline.Media{
		Container: "mov", Duration: seconds, Bitrate: int64(bits), Size: int64(seconds * bits / 8),
		Video: pipeline.VideoTrack{
			Codec: "h264", Profile: "High", PixelFormat: "yuv420p", BitDepth: 8, CodedWidth: width,
			CodedHeight: height, Width: width, Height: height, SampleRatio: 1, FrameRateNum: clipRate,
			FrameRateDen: 1, Bitrate: int64(bits), Level: 40,
			Groups: &pipeline.Groups{Closed: true, Longest: 10, Average: 10},
		},
		Audio: []pipeline.AudioTrack{{
			Stream: 1, Codec: "aac", Profile: "LC", Channels: 2, SampleRate: 48000, Language: "und", Default: true,
			Duration: seconds, Bitrate: 128000, Frames: int(seconds * 48000 / 1024),
		}},
	}
}

// mixedVideos returns n videos of 480p, 720p and 1080p, from 10 s to 2 h, half of them shorter than 5
// minutes.
func mixedVideos(registry *workers.Registry, c costs, n int, seed uint64) ([]simVideo, error) {
	r := rand.New(rand.NewPCG(seed, 2))
	var videos []simVideo
	for range n {
		seconds := min(7200, max(10, 300*math.Exp(1.2*r.NormFloat64())))
		v, err := planVideo(registry, c, simMedia(seconds, []int{480, 720, 720, 1080, 1080}[r.IntN(5)]))
		if err != nil {
			return nil, err
		}
		videos = append(videos, v)
	}
	return videos, nil
}

// simResult is the result of one set of videos on each number of slots.
type simResult struct {
	Name     string    `json:"name"`
	Videos   int       `json:"videos"`
	Jobs     int       `json:"jobs"`
	Chunks   int       `json:"chunks"`
	Work     float64   `json:"work_seconds"`
	Critical float64   `json:"critical_path_seconds"`
	Slots    []simLine `json:"slots"`
}

// simLine is the result with one number of slots.
type simLine struct {
	Slots      int                `json:"slots"`
	Wall       float64            `json:"wall_seconds"`
	SpeedUp    float64            `json:"speed_up"`
	Efficiency float64            `json:"efficiency"`
	Failed     int                `json:"failed_attempts"`
	Spent      map[string]float64 `json:"spent"` // parts of slots times wall
}

// sweep simulates each number of slots. Speed-up is relative to one slot with its overheads.
func (o simOptions) sweep(name string, videos []simVideo) (simResult, error) {
	r := simResult{Name: name, Videos: len(videos), Work: totalWork(videos)}
	for _, v := range videos {
		r.Critical = max(r.Critical, criticalPath(v))
		r.Jobs += len(v.jobs)
		for _, j := range v.jobs {
			if j.wide {
				r.Chunks++
			}
		}
	}
	slots, err := parseSlots(o.slots)
	if err != nil {
		return r, err
	}
	alone := o.world
	alone.slots = 1
	one := simulate(alone, videos).wall
	for _, n := range slots {
		x := o.world
		x.slots = n
		s := simulate(x, videos)
		l := simLine{
			Slots: n, Wall: s.wall, SpeedUp: one / s.wall, Efficiency: one / s.wall / float64(n), Failed: s.failed,
			Spent: map[string]float64{},
		}
		for k, seconds := range s.spent {
			l.Spent[spentNames[k]] = seconds / s.wall / float64(n)
		}
		r.Slots = append(r.Slots, l)
	}
	return r, nil
}

// table prints a result in columns, with the uses of slot time in percent.
func (r simResult) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %d jobs, %d of them chunks; %.0f s of work; the longest way through a plan is %.1f s\n",
		r.Name, r.Jobs, r.Chunks, r.Work, r.Critical)
	t := tabwriter.NewWriter(&s, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "slots\twall s\tspeed-up\tefficiency\t%s\tdied\t\n", strings.Join(spentNames[:], " %\t")+" %")
	for _, l := range r.Slots {
		fmt.Fprintf(t, "%d\t%.1f\t%.1f\t%.3f\t", l.Slots, l.Wall, l.SpeedUp, l.Efficiency)
		for _, name := range spentNames {
			fmt.Fprintf(t, "%.1f\t", 100*l.Spent[name])
		}
		fmt.Fprintf(t, "%d\t\n", l.Failed)
	}
	_ = t.Flush() // writing to a strings.Builder cannot fail
	return s.String()
}

func writeSim(file string, c costs, results []simResult) error {
	if file == "" {
		return nil
	}
	doc, err := json.MarshalIndent(map[string]any{"costs": c, "results": results}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(doc, '\n'), 0o644)
}
