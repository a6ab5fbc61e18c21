package main

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"math"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// checkGeneral checks what must hold for every video.
func (j *judge) checkGeneral() error {
	j.general = true
	defer func() { j.general = false }()
	w := j.c.want
	if len(w.rejected) > 0 {
		j.rejection(w.rejected)
		return nil
	}
	if !j.ready() {
		return nil
	}
	if w.slack == 0 {
		w.slack = max(0.1, 0.02*w.length)
	}
	m, err := loadMaster(j.ctx, j.base+j.view.Manifest)
	if err != nil {
		return err
	}
	j.master = m
	for i, r := range m.rungs {
		if err := j.rung(r, i == 0, w); err != nil {
			return fmt.Errorf("rung %s: %w", r, err)
		}
	}
	if w.sounds >= 0 {
		j.is("sounds", len(m.sounds), w.sounds)
	}
	for _, s := range m.sounds {
		if err := j.sound(s, w); err != nil {
			return fmt.Errorf("sound %s: %w", s.name, err)
		}
	}
	return j.poster(w)
}

// ready records how the video ended, and reports whether it is ready.
func (j *judge) ready() bool {
	ready := j.view.Status == pipeline.StateVideoReady
	j.holds("status", statusOf(j.view), "ready", ready)
	return ready
}

// statusOf returns the status of a video, with its problem.
func statusOf(v pipeline.VideoView) string {
	if v.Problem == nil {
		return string(v.Status)
	}
	detail := v.Problem.Detail
	return fmt.Sprintf("%s %s (%s)", v.Status, v.Problem.Code, detail[:min(len(detail), 120)])
}

func (j *judge) rejection(codes []pipeline.Code) {
	j.note("status", "%s", statusOf(j.view))
	var code pipeline.Code
	if j.view.Problem != nil {
		code = j.view.Problem.Code
	}
	j.is("status", j.view.Status, pipeline.StateVideoRejected)
	wanted := make([]any, len(codes))
	for i, c := range codes {
		wanted[i] = c
	}
	j.is("code", code, wanted...)
	for _, job := range j.jobs {
		j.is("attempts of "+job.Name, job.Attempt, 1)
	}
}

// rung checks one rung: its playlist, its frames, and that it decodes.
func (j *judge) rung(r rung, top bool, w want) error {
	if err := j.playlist(r.String(), r.url, w.length, w.slack); err != nil {
		return err
	}
	t, err := probe(j.ctx, r.url, picture)
	if err != nil {
		return err
	}
	name := func(what string) string { return what + " of " + r.String() }
	said, frames, err := decode(j.ctx, r.url)
	if err != nil {
		return err
	}
	j.tracks, j.frames = append(j.tracks, t), append(j.frames, frames)
	j.silent(name("decoding"), said)
	j.holds(name("frames"), fmt.Sprint(frames), fmt.Sprint(len(t.packets)), frames == len(t.packets))
	if w.length > 0 {
		j.near(name("length"), t.end()-t.start(), w.length, w.slack)
	}
	j.below(name("start"), math.Abs(t.start()), 0.5/r.rate+0.001) // as players with libavformat show it
	j.is(name("pixel format"), t.PixelFormat, "yuv420p")
	j.holds(name("pixels"), t.SampleRatio, "square", t.square())
	j.is(name("size"), fmt.Sprintf("%dx%d", t.Width, t.Height), r)
	j.holds(name("edges"), r.String(), "even", r.width%2 == 0 && r.height%2 == 0)
	if w.aspect > 0 {
		slack := aspectSlack(w.aspect, r.width, r.height)
		j.near(name("aspect"), float64(r.width)/float64(r.height), w.aspect, slack)
	}
	if top {
		j.note("top rung", "%s, %.2f frames/s, %.2f s", r, r.rate, t.end()-t.start())
		if len(w.frames) > 0 {
			j.oneOf("frames of the top rung", frames, w.frames)
		}
	}
	return nil
}

// aspectSlack returns 1.5%, plus the change that makes the edges even.
func aspectSlack(aspect float64, width, height int) float64 {
	return aspect * max(0.015, 1/float64(min(width, height)))
}

// oneOf wants one of several numbers, ±1.
func (j *judge) oneOf(what string, got int, wanted []int) {
	ok := false
	for _, w := range wanted {
		ok = ok || got >= w-1 && got <= w+1
	}
	j.holds(what, fmt.Sprint(got), fmt.Sprintf("one of %v ±1", wanted), ok)
}

// silent wants no message from a program.
func (j *judge) silent(what, said string) {
	j.holds(what, strings.TrimSpace("clean "+tail(said)), "no message", said == "")
}

// playlist checks a media playlist.
func (j *judge) playlist(name, at string, length, slack float64) error {
	m, err := loadMedia(j.ctx, at)
	if err != nil {
		return err
	}
	if length > 0 {
		j.near("sum of EXTINF of "+name, m.sum(), length, slack)
	}
	longest := 0.0
	for _, d := range m.durations {
		longest = max(longest, math.Round(d))
	}
	ok := m.target >= 1 && float64(m.target) >= longest
	j.holds("target of "+name, fmt.Sprint(m.target), fmt.Sprintf("at least 1 and %g", longest), ok)
	j.holds("ENDLIST of "+name, fmt.Sprint(m.ended), "true", m.ended)
	return nil
}

// sound checks an audio rendition: its playlist, and that it decodes.
func (j *judge) sound(s sound, w want) error {
	slack := max(0.1, 0.02*w.heard)
	if err := j.playlist("sound", s.url, w.heard, slack); err != nil {
		return err
	}
	said, _, err := decode(j.ctx, s.url)
	if err != nil {
		return err
	}
	j.silent("decoding of the sound", said)
	t, err := probe(j.ctx, s.url, audible)
	if err != nil {
		return err
	}
	j.is("CHANNELS", s.channels, t.Channels)
	j.note("sound", "%d channels, %.2f s", t.Channels, t.end()-t.start())
	if w.heard > 0 {
		j.near("length of the sound", t.end()-t.start(), w.heard, slack)
	}
	return nil
}

// poster checks that there is a poster with the aspect of the video.
func (j *judge) poster(w want) error {
	l, err := j.lightness()
	if err != nil {
		return err
	}
	if w.aspect > 0 {
		slack := aspectSlack(w.aspect, l.width, l.height)
		j.near("aspect of the poster", float64(l.width)/float64(l.height), w.aspect, slack)
	}
	return nil
}

// lightness measures the luma of the poster.
func (j *judge) lightness() (lightness, error) {
	raw, err := fetch(j.ctx, j.base+"thumbnail.jpg")
	if err != nil {
		return lightness{}, err
	}
	img, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return lightness{}, fmt.Errorf("poster: %w", err)
	}
	return lightnessOf(img), nil
}

// hear decodes an audio rendition of the video, usually the only one.
func (j *judge) hear() (pcm, error) {
	if len(j.master.sounds) == 0 {
		return pcm{}, errors.New("the video has no audio")
	}
	s := j.master.sounds[0]
	t, err := probe(j.ctx, s.url, audible)
	if err != nil {
		return pcm{}, err
	}
	return listen(j.ctx, s.url, audible, t.Channels)
}
