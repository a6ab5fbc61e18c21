package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// playables are the clips whose time to video.playable is measured.
var playables = []struct {
	form    form
	seconds float64
	sound   string
	aim     aim
}{
	{standardForm, 60, "aac", atMost(1.5)},
	{standardForm, 600, "aac", aim{}}, // see growth
	{encodeForm, 30, "aac", atMost(4)},
	{encodeForm, 300, "aac", atMost(4)},
	{encodeForm, 300, "mp3", atMost(4)},
	{encodeForm, 1800, "aac", atMost(4)},
}

// playable measures the time from the last byte of an upload to video.playable. It then stops the server,
// since the rest is not measured.
func (b *bench) playable(ctx context.Context) error {
	var standard, remuxed [][]float64
	for _, p := range playables {
		source, err := b.clips.get(ctx, p.form, p.seconds, p.sound)
		if err != nil {
			return err
		}
		var sent, answered []float64
		for n := range b.runs(p.seconds) {
			s, err := b.playableOnce(ctx, source)
			if err != nil {
				return err
			}
			sent = append(sent, s.took(s.sent, pipeline.VideoPlayable))
			answered = append(answered, s.took(s.answered, pipeline.VideoPlayable))
			b.say("%-22s %d playable after %.2f s", source.name, n+1, sent[n])
		}
		name := fmt.Sprintf("playable %s %gs %s", p.form.name, p.seconds, p.sound)
		b.add(name+": after the last byte", "s", sent, p.aim, "")
		b.add(name+": after the answer", "s", answered, aim{}, "")
		if p.form != standardForm {
			continue
		}
		times, err := b.remuxes(ctx, source)
		if err != nil {
			return err
		}
		standard, remuxed = append(standard, sent), append(remuxed, times)
	}
	b.growth(standard, remuxed)
	return nil
}

// remuxes returns how long ffmpeg takes to remux a clip into fragments, in seconds, for each repeat.
func (b *bench) remuxes(ctx context.Context, source clip) (times []float64, err error) {
	file := filepath.Join(b.dir, "remuxed.mp4")
	defer os.Remove(file)
	for range b.repeat {
		begun := time.Now()
		err := ffmpeg(ctx, "-i", source.path, "-map", "0", "-c", "copy", "-movflags", "cmaf+frag_keyframe", file)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun).Seconds())
	}
	return times, nil
}

// growth compares the extra time of the long clip with that of a remux.
func (b *bench) growth(standard, remuxed [][]float64) {
	more := func(times [][]float64) float64 { return median(times[1]) - median(times[0]) }
	const name = "playable standard 600s, more than 60s"
	b.add(name, "s", []float64{more(standard)}, aim{}, "")
	b.add(name+": a remux", "s", []float64{more(remuxed)}, aim{}, "")
	b.add(name+"/a remux", "", []float64{more(standard) / more(remuxed)}, atMost(1), "")
}

func (b *bench) playableOnce(ctx context.Context, source clip) (*story, error) {
	server, err := b.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	others, cpu := watchOthers(), processorTime(server.pid)
	s, err := b.follow(ctx, server.url, source, "", pipeline.VideoPlayable, nil)
	if err == nil {
		b.busyOthers("playable "+source.name, others(processorTime(server.pid)-cpu))
	}
	return s, err
}
