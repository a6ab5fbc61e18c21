package transcode

import (
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// standardMedia describes a film that any player plays as it is.
func standardMedia() pipeline.Media {
	return pipeline.Media{
		Container: "mov", Duration: 60, Size: 20 << 20,
		Video: pipeline.VideoTrack{
			ID: 1, Codec: "h264", Profile: "High", Level: 31, PixelFormat: "yuv420p", BitDepth: 8, Bitrate: 2_500_000,
			CodedWidth: 1280, CodedHeight: 720, Width: 1280, Height: 720, SampleRatio: 1,
			FrameRateNum: 24, FrameRateDen: 1, Edits: pipeline.EditsSimple,
			Groups: &pipeline.Groups{Closed: true, Longest: 9.9, Average: 4, Borders: []float64{0, 5, 10, 18.75, 24, 30, 36, 42, 48, 54}},
		},
		Audio: []pipeline.AudioTrack{{Codec: "mp3", Channels: 2, SampleRate: 44100, Duration: 60}},
	}
}

// TestStandard spoils one property of standard input at a time.
func TestStandard(t *testing.T) {
	reason := func(p Params, m pipeline.Media) string {
		return standard(p, m, ladder(m.Video, p.Quality, p.Ladder)[0])
	}
	if why := reason(Params{}, standardMedia()); why != "" {
		t.Fatal(why)
	}
	for want, spoil := range map[string]func(m *pipeline.Media){
		"a step of the pipeline hides part of the picture, so the source is not published as it is": func(m *pipeline.Media) {
			m.NoCopy = true
		},
		"it is in avi, not in MP4, Matroska, MPEG-TS or FLV":  func(m *pipeline.Media) { m.Container = "avi" },
		"parts of it cannot be read":                          func(m *pipeline.Media) { m.Damaged = true },
		"it is hevc, not H.264":                               func(m *pipeline.Media) { m.Video.Codec = "hevc" },
		"its pixels are yuv422p, not 8-bit 4:2:0":             func(m *pipeline.Media) { m.Video.PixelFormat = "yuv422p" },
		"its pixels are yuv420p10le, not 8-bit 4:2:0":         func(m *pipeline.Media) { m.Video.PixelFormat, m.Video.BitDepth = "yuv420p10le", 10 },
		"its profile is High 4:4:4 Predictive":                func(m *pipeline.Media) { m.Video.Profile = "High 4:4:4 Predictive" },
		"its level is 60":                                     func(m *pipeline.Media) { m.Video.Level = 60 },
		"its pixels are not square":                           func(m *pipeline.Media) { m.Video.SampleRatio = 4.0 / 3 },
		"it is turned or mirrored":                            func(m *pipeline.Media) { m.Video.Mirrored = true },
		"it is interlaced":                                    func(m *pipeline.Media) { m.Video.Interlaced = true },
		"its frame rate varies: some frames are 20 ms apart":  func(m *pipeline.Media) { m.Video.Groups.FrameLeast = 0.02 },
		"its frame rate varies: some frames are 1.5 s apart":  func(m *pipeline.Media) { m.Video.Groups.FrameMost = 1.5 },
		"its parameter sets change":                           func(m *pipeline.Media) { m.Video.Groups.Changes = true },
		"its range is full":                                   func(m *pipeline.Media) { m.Video.Range = "pc" },
		"its colours are bt2020nc, neither BT.709 nor BT.601": func(m *pipeline.Media) { m.Video.Matrix = "bt2020nc" },
		"it is HDR":         func(m *pipeline.Media) { m.Video.HDR = "hlg" },
		"it is transparent": func(m *pipeline.Media) { m.Video.Alpha = true },
		"the video begins 1.50 s after the audio":      func(m *pipeline.Media) { m.Video.Start = 1.5 },
		"it is 1281x720, but the top rung is 1280x720": func(m *pipeline.Media) { m.Video.Width, m.Video.CodedWidth = 1281, 1281 },
		"it is 3840x2160, but the top rung is 1920x1080": func(m *pipeline.Media) {
			m.Video.Width, m.Video.Height, m.Video.CodedWidth, m.Video.CodedHeight = 3840, 2160, 3840, 2160
		},
		"it has 120.00 frames/s, but the top rung has 60.00":     func(m *pipeline.Media) { m.Video.FrameRateNum = 120 },
		"its bit rate is 7000 kbit/s, but 720p has at most 4500": func(m *pipeline.Media) { m.Video.Bitrate = 7_000_000 },
		"its bit rate is 0 kbit/s, but 720p has at most 4500":    func(m *pipeline.Media) { m.Video.Bitrate = 0 },
		"its keyframes are not known":                            func(m *pipeline.Media) { m.Video.Groups = nil },
		"its groups of pictures are open":                        func(m *pipeline.Media) { m.Video.Groups.Closed = false },
		"its keyframes are up to 12.1 s apart":                   func(m *pipeline.Media) { m.Video.Groups.Longest = 12.1 },
		"no segment can begin at its keyframes":                  func(m *pipeline.Media) { m.Video.Groups.Borders = nil },
		"segments that begin at its keyframes are up to 12.5 s long": func(m *pipeline.Media) {
			m.Video.Groups.Borders, m.Video.Groups.Longest = []float64{0, 7, 19.5, 28, 37, 46, 55}, 9
		},
		"its keyframes lie between the frames of the other rungs": func(m *pipeline.Media) {
			m.Video.Groups.Borders, m.Video.Groups.Longest = []float64{0}, 2
		},
		"the video ends 7.0 s before the audio: its last segment would last 13.0 s": func(m *pipeline.Media) {
			m.Duration, m.Video.End = 67, 60
		},
		"its edit list does more than shift it": func(m *pipeline.Media) { m.Video.Edits = pipeline.EditsComplex },
	} {
		m := standardMedia()
		spoil(&m)
		if got := reason(Params{}, m); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for name, change := range map[string]func(m *pipeline.Media){
		"untagged":               func(m *pipeline.Media) { m.Video.Matrix = "" },
		"PAL":                    func(m *pipeline.Media) { m.Video.Matrix = "bt470bg" },
		"NTSC":                   func(m *pipeline.Media) { m.Video.Matrix = "smpte170m" },
		"x264's default at film": func(m *pipeline.Media) { m.Video.Groups.Longest = 250 * 1001 / 24000. },
		"Matroska":               func(m *pipeline.Media) { m.Container, m.Video.Groups.Remuxed = "matroska", true },
		"MPEG-TS":                func(m *pipeline.Media) { m.Container, m.Video.Groups.Remuxed = "mpegts", true },
		"after the audio":        func(m *pipeline.Media) { m.Video.Start = 0.07 },
		"a trembling clock": func(m *pipeline.Media) {
			m.Video.Variable, m.Video.Groups.FrameLeast, m.Video.Groups.FrameMost = true, 0.03, 0.055
		},
		"a pause":              func(m *pipeline.Media) { m.Video.Variable, m.Video.Groups.FrameMost = true, 0.9 },
		"nearly square pixels": func(m *pipeline.Media) { m.Video.SampleRatio, m.Video.Width = 0.9992, 1279 },
	} {
		m := standardMedia()
		change(&m)
		if why := reason(Params{}, m); why != "" {
			t.Errorf("%s: %s", name, why)
		}
	}
	turned := standardMedia()
	turned.Video.Rotation, turned.Video.Width, turned.Video.Height = 90, 720, 1280
	for why, got := range map[string]string{
		"it is turned or mirrored":                    reason(Params{}, turned),
		"the pipeline has every rung encoded":         reason(Params{Copy: "never"}, standardMedia()),
		"it is 1280x720, but the top rung is 640x360": reason(Params{Ladder: []int{360}}, standardMedia()),
	} {
		if got != why {
			t.Errorf("%q, want %q", got, why)
		}
	}
}
