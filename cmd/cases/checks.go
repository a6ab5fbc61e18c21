package main

import (
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// rate wants a frame rate for the top rung, in the playlist and in its frames.
func rate(want float64) func(*judge) error {
	return func(j *judge) error {
		j.near("FRAME-RATE", j.master.rungs[0].rate, want, 0.01)
		j.near("frames/s by the intervals", j.tracks[0].rate(), want, 0.05)
		return nil
	}
}

// notTooManyFrames judges r03.
func notTooManyFrames(j *judge) error {
	for i, r := range j.master.rungs {
		n := j.frames[i]
		j.holds("frames of "+r.String(), fmt.Sprint(n), "175 to 365", n >= 175 && n <= 365)
		j.below("FRAME-RATE of "+r.String(), r.rate, 60.5)
	}
	return nil
}

// ratesOrHalf wants a frame rate for the top rung, and that or half of it for lower ones.
func ratesOrHalf(want float64) func(*judge) error {
	return func(j *judge) error {
		for i, r := range j.master.rungs {
			half := i > 0 && math.Abs(r.rate-want/2) <= 0.1
			j.holds("FRAME-RATE of "+r.String(), fmt.Sprint(r.rate), fmt.Sprintf("%g ±0.1", want),
				half || math.Abs(r.rate-want) <= 0.1)
			j.near("frames/s of "+r.String(), j.tracks[i].rate(), r.rate, 0.2)
		}
		return nil
	}
}

// wholePart wants every rung to have the source's rate divided by a whole number; other rates judder.
func wholePart(source float64) func(*judge) error {
	return func(j *judge) error {
		for i, r := range j.master.rungs {
			parts := source / r.rate
			ok := math.Abs(parts-math.Round(parts)) < 0.01
			j.holds("FRAME-RATE of "+r.String(), fmt.Sprint(r.rate), fmt.Sprintf("a whole part of %g", source), ok)
			j.near("frames/s of "+r.String(), j.tracks[i].rate(), r.rate, 0.5)
		}
		return nil
	}
}

// oneFrame judges r07.
func oneFrame(j *judge) error {
	for i, r := range j.master.rungs {
		j.is("frames of "+r.String(), j.frames[i], 1)
	}
	return nil
}

// keyframesFirst wants every segment to begin with a keyframe and last at most 10.5 s.
func keyframesFirst(j *judge) error {
	for _, r := range j.master.rungs {
		m, err := loadMedia(j.ctx, r.url)
		if err != nil {
			return err
		}
		late := 0
		for _, at := range m.segments {
			file, err := boxes(j.ctx, m.init, at)
			if err != nil {
				return err
			}
			samples, err := file.Segments[0].Fragments[0].GetFullSamples(file.Init.Moov.Mvex.Trex)
			if err != nil {
				return err
			}
			if len(samples) == 0 || !samples[0].IsSync() {
				late++
			}
		}
		j.is("segments of "+r.String()+" that begin without a keyframe", late, 0)
		j.below("longest segment of "+r.String(), slices.Max(m.durations), 10.5)
	}
	return nil
}

// copiedTop wants the top rung to have the frames of the source: they decode to the same samples, unlike
// encoded ones.
func copiedTop(j *judge) error {
	same, all, err := j.copied(picture)
	if err != nil {
		return err
	}
	j.holds("frames of the top rung as in the source", fmt.Sprintf("%d of %d", same, all), "all", same == all)
	if same != all {
		j.wrong("because", "%s", j.whyTop())
	}
	return nil
}

// copied counts the frames of the top rung, and those that decode to the same samples as a frame of the
// source.
func (j *judge) copied(which selector) (same, all int, err error) {
	source, err := checksums(j.ctx, j.source, which)
	if err != nil {
		return 0, 0, err
	}
	ours, err := checksums(j.ctx, j.master.rungs[0].url, picture)
	if err != nil {
		return 0, 0, err
	}
	known := map[string]bool{}
	for _, sum := range source {
		known[sum] = true
	}
	for _, sum := range ours {
		if known[sum] {
			same++
		}
	}
	return same, len(ours), nil
}

// bitsOfSource wants at most 1.3 times the source's bits for a rung's share of the pixels, or 150 kb/s. It
// adds 5% for containers.
func bitsOfSource(j *judge) error {
	source, err := probe(j.ctx, j.source, picture)
	if err != nil {
		return err
	}
	for i, r := range j.master.rungs {
		share := float64(r.width*r.height) / float64(source.Width*source.Height)
		most := max(150e3, 1.3*source.bits()*share) * 1.05
		j.below("bits/s of "+r.String(), j.tracks[i].bits(), most)
	}
	return nil
}

func abs(n int) int { return max(n, -n) }

// topSize wants a size for the top rung.
func topSize(want string) func(*judge) error {
	return func(j *judge) error {
		j.is("top rung", j.master.rungs[0], want)
		return nil
	}
}

// files wants count progressive MP4s of the video, of a length.
func files(length float64, count int) func(*judge) error {
	return func(j *judge) error {
		found := 0
		for _, o := range j.outputs {
			if path.Ext(o.Path) != ".mp4" || o.Segments != nil || o.Kind != pipeline.KindVideo {
				continue
			}
			found++
			at := j.base + o.Path
			for _, which := range []selector{picture, audible} {
				t, err := probe(j.ctx, at, which)
				if err != nil {
					return err
				}
				j.near(fmt.Sprintf("length of %s of %s", which, o.Path), t.end()-t.start(), length, max(0.1, 0.02*length))
			}
			said, _, err := decode(j.ctx, at)
			if err != nil {
				return err
			}
			j.silent("decoding of "+o.Path, said)
		}
		j.is("progressive files", found, count)
		return nil
	}
}

// subtitlesNamed judges m_subs.
func subtitlesNamed(j *judge) error {
	var details []string
	for _, w := range j.view.Warnings {
		details = append(details, fmt.Sprintf("%s (%s)", w.Title, w.Detail))
	}
	said := strings.Join(details, " | ")
	j.holds("warnings", said, "one of the subtitle track", strings.Contains(strings.ToLower(said), "subtitle"))
	return rate(29.97)(j)
}

// codecsTrue wants CODECS to match the avcC box of each rung, and a profile that plays everywhere.
func codecsTrue(j *judge) error {
	for _, r := range j.master.rungs {
		m, err := loadMedia(j.ctx, r.url)
		if err != nil {
			return err
		}
		file, err := boxes(j.ctx, m.init)
		if err != nil {
			return err
		}
		stsd := file.Init.Moov.Trak.Mdia.Minf.Stbl.Stsd
		if stsd.AvcX == nil || stsd.AvcX.AvcC == nil {
			return errors.New("the init section has no avcC box")
		}
		c := stsd.AvcX.AvcC
		of := fmt.Sprintf("avc1.%02x%02x%02x", c.AVCProfileIndication, c.ProfileCompatibility, c.AVCLevelIndication)
		named, _, _ := strings.Cut(strings.ToLower(r.codecs), ",")
		j.is("CODECS of "+r.String(), named, of)
		j.is("profile of "+r.String(), c.AVCProfileIndication, 66, 77, 88, 100)
	}
	return nil
}

// inSync wants a flash and a beep at the same time, and no empty edit in the init sections. The times of
// pictures are those of the boxes, from the first frame on.
func inSync(at float64) func(*judge) error {
	return func(j *judge) error {
		heard, err := j.hear()
		if err != nil {
			return err
		}
		beep := onset(heard.mono(), 0.1)
		j.near("beep", beep, at, 0.06)
		for i, r := range j.master.rungs {
			flash, err := j.flash(r.url, j.tracks[i])
			if err != nil {
				return err
			}
			j.near("flash of "+r.String()+" before the beep", flash-beep, 0, 0.045)
		}
		return j.noEmptyEdit()
	}
}

// flash returns the time of the first light frame of a rung, in seconds from the first frame.
func (j *judge) flash(at string, t track) (float64, error) {
	raw, err := output(j.ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", at, "-vf", "scale=8:8,format=gray",
		"-fps_mode", "passthrough", "-f", "rawvideo", "-")
	if err != nil {
		return 0, err
	}
	var times []float64
	for _, p := range t.packets {
		times = append(times, p.at)
	}
	slices.Sort(times)
	for i := range len(raw) / 64 {
		if raw[i*64+36] > 128 && i < len(times) {
			return times[i] - times[0], nil
		}
	}
	return math.NaN(), nil
}

// noEmptyEdit wants no edit list that begins with an empty edit, which players handle differently.
func (j *judge) noEmptyEdit() error {
	urls := []string{}
	for _, r := range j.master.rungs {
		urls = append(urls, r.url)
	}
	for _, s := range j.master.sounds {
		urls = append(urls, s.url)
	}
	empty := 0
	for _, at := range urls {
		m, err := loadMedia(j.ctx, at)
		if err != nil {
			return err
		}
		file, err := boxes(j.ctx, m.init)
		if err != nil {
			return err
		}
		edits := file.Init.Moov.Trak.Edts
		if edits == nil {
			continue
		}
		for _, list := range edits.Elst {
			for _, e := range list.Entries {
				if e.MediaTime < 0 {
					empty++
				}
			}
		}
	}
	j.is("empty edits", empty, 0)
	return nil
}
