package main

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// even is a video of n equal chunks.
func even(n int, work float64) simVideo {
	v := simVideo{}
	for range n {
		v.jobs = append(v.jobs, simJob{worker: "transcode", wide: true, work: work})
	}
	return v
}

// TestNothingIsLost checks that n slots are n times as fast without overhead and with evenly divided chunks.
func TestNothingIsLost(t *testing.T) {
	videos := []simVideo{even(1200, 7)}
	for _, slots := range []int{1, 2, 3, 10, 100, 600, 1200} {
		s := simulate(world{slots: slots}, videos)
		if want := 1200 * 7 / float64(slots); math.Abs(s.wall-want) > 1e-6 {
			t.Errorf("%d slots: %g s, want %g", slots, s.wall, want)
		}
		if s.spent[working] < s.wall*float64(slots)*(1-1e-9) {
			t.Errorf("%d slots worked %g of %g s", slots, s.spent[working], s.wall*float64(slots))
		}
	}
	if s := simulate(world{slots: 2000}, videos); math.Abs(s.wall-7) > 1e-9 || s.spent[tailing] < 7*799 {
		t.Errorf("more slots than chunks: %+v", s)
	}
}

// TestEachLimit checks one overhead at a time, whose cost is known.
func TestEachLimit(t *testing.T) {
	chunk := simJob{worker: "transcode", wide: true, work: 10, reads: true, share: 0.25, bytes: 50}
	video := simVideo{source: 1000, jobs: []simJob{chunk, chunk, chunk, chunk}}
	alone := chunk
	alone.wide = false
	chain := simVideo{jobs: []simJob{alone, alone}}
	chain.jobs[0].reads, chain.jobs[1].reads, chain.jobs[1].after = false, false, []int{0}
	for name, c := range map[string]struct {
		w     world
		video simVideo
		wall  float64
		spent spent
		much  float64
	}{
		"slots rest between jobs": {world{slots: 1, next: 1}, video, 43, latency, 3},
		"tasks are on their way":  {world{slots: 1, unblock: 1}, chain, 23, latency, 3},
		"a broker that is slow":   {world{slots: 4, writes: 3, broker: 1}, video, 19, broking, 20},
		"a machine's line":        {world{slots: 4, machineBytes: 100}, video, 22, storing, 45},
		"machines of one slot":    {world{slots: 4, perMachine: 1, machineBytes: 100}, video, 20.5, storing, 42},
		"a store for all":         {world{slots: 4, perMachine: 1, storeBytes: 100}, video, 50.5, storing, 102},
		"parts of the source": {
			world{slots: 4, perMachine: 1, machineBytes: 100, ranged: true}, video, 13, storing, 12,
		},
		"what cannot be spread": {world{slots: 2}, chain, 20, critical, 20},
	} {
		s := simulate(c.w, []simVideo{c.video})
		if math.Abs(s.wall-c.wall) > 1e-9 || math.Abs(s.spent[c.spent]-c.much) > 1e-9 {
			t.Errorf("%s: %g s and %g s of it %s, want %g and %g; %v", name, s.wall, s.spent[c.spent],
				spentNames[c.spent], c.wall, c.much, s.spent)
		}
	}
}

// TestFailures checks that a dead attempt costs its work and its lease, and that the video still completes.
func TestFailures(t *testing.T) {
	videos := []simVideo{even(100, 5)}
	well, ill := simulate(world{slots: 4}, videos), simulate(world{slots: 4, failEvery: 5, lease: 30}, videos)
	if ill.failed == 0 || ill.wall <= well.wall || ill.spent[failing] <= 0 {
		t.Errorf("%+v after %+v", ill, well)
	}
	if math.Abs(ill.spent[working]-500) > 1e-6 {
		t.Errorf("%g s of work, want 500", ill.spent[working])
	}
	if again := simulate(world{slots: 4, failEvery: 5, lease: 30}, videos); again != ill {
		t.Errorf("the same seed, another end: %+v, %+v", again, ill)
	}
	if other := simulate(world{slots: 4, failEvery: 5, lease: 30, seed: 9}, videos); other == ill {
		t.Error("another seed, the same end")
	}
}

// TestWindow checks that a video with many chunks lets a later one in after the tasks of its window.
func TestWindow(t *testing.T) {
	long, short := even(100, 1), even(1, 1)
	short.at = 1.5
	s := &simulation{world: world{slots: 1}, videos: []simVideo{long, short}}
	if s.window() != 4 || (world{slots: 50}).window() != 100 {
		t.Errorf("windows %d and %d", s.window(), world{slots: 50}.window())
	}
	alone := simulate(world{slots: 1}, []simVideo{long})
	both := simulate(world{slots: 1}, []simVideo{long, short})
	if both.wall != alone.wall+1 {
		t.Errorf("%g s with a second video, %g without", both.wall, alone.wall)
	}
}

// TestPlannedVideo checks that a real plan is bounded by its work and by its longest path, and that more
// slots never make it slower when only slots are scarce.
func TestPlannedVideo(t *testing.T) {
	v, err := planVideo(registry(t), builtIn, simMedia(1800, 720))
	if err != nil {
		t.Fatal(err)
	}
	all := 0.0
	for _, j := range v.jobs {
		all += j.fixed + j.work
	}
	longest, before := criticalPath(v), math.Inf(1)
	for _, slots := range []int{1, 2, 4, 8, 16, 32, 64, 128, 1000} {
		s := simulate(world{slots: slots}, []simVideo{v})
		if s.wall < longest-1e-6 || s.wall < all/float64(slots)-1e-6 || s.wall > before+1e-6 {
			t.Errorf("%d slots: %g s; longest way %g, share of the work %g, fewer slots %g", slots, s.wall, longest,
				all/float64(slots), before)
		}
		before = s.wall
	}
	if before > longest+1e-6 {
		t.Errorf("with slots for everything: %g s, the longest way is %g", before, longest)
	}
}

// TestBooks checks in several worlds that every second of every slot is booked once, and the work is done.
func TestBooks(t *testing.T) {
	video, err := planVideo(registry(t), builtIn, simMedia(200, 720))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		amount := func(name string, most float64) float64 { return rapid.Float64Range(0, most).Draw(t, name) }
		w := world{
			slots: rapid.IntRange(1, 40).Draw(t, "slots"), perMachine: rapid.IntRange(1, 8).Draw(t, "per machine"),
			next: amount("next", 1), unblock: amount("unblock", 1), writes: amount("writes", 5),
			broker: 1 + amount("broker", 100), machineBytes: 1e6 + amount("machine", 1e8),
			storeBytes: 1e6 + amount("store", 1e8), ranged: rapid.Bool().Draw(t, "ranged"),
			sigma: amount("sigma", 0.5), failEvery: 3 + amount("fail every", 100), lease: amount("lease", 60),
			seed: rapid.Uint64().Draw(t, "seed"),
		}
		second := video
		second.at = amount("at", 20)
		s := simulate(w, []simVideo{video, second})
		sum := 0.0
		for k, seconds := range s.spent {
			if seconds < -1e-9 {
				t.Errorf("%g s of %s", seconds, spentNames[k])
			}
			sum += seconds
		}
		if want := s.wall * float64(w.slots); math.Abs(sum-want) > 1e-6*want {
			t.Errorf("%g s are booked, there were %g", sum, want)
		}
		least := 2 * totalWork([]simVideo{video}) * math.Exp(-4*w.sigma-w.sigma*w.sigma)
		if s.spent[working] < least*(1-1e-9) {
			t.Errorf("%g s of work, at least %g are to be done", s.spent[working], least)
		}
	})
}
