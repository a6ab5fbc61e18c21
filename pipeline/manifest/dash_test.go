package manifest

import (
	"strings"
	"testing"
)

// onGrid returns a picture with frames of 1001 ticks at 30000 ticks/s: whole segments of 180 frames, and one
// of the rest.
func onGrid(v variant, segments, rest int) pictureTrack {
	p := pictureTrack{variant: v, Track: Track{Codecs: v.Codecs, Timescale: 30000}}
	for range segments {
		p.Track.Segments = append(p.Track.Segments, Segment{Duration: 180 * 1001.0 / 30000})
	}
	if rest > 0 {
		p.Track.Segments = append(p.Track.Segments, Segment{Duration: float64(rest) * 1001 / 30000})
	}
	return p
}

func soundTracks() []audioTrack {
	all := sounds()
	all[1].Language = ""
	track := Track{Codecs: "mp4a.40.2", Timescale: 48000}
	for _, frames := range []float64{282, 281, 282, 10} {
		track.Segments = append(track.Segments, Segment{Duration: frames * 1024 / 48000})
	}
	return []audioTrack{{audioRendition: all[0], SampleRate: 48000, Track: track}, {audioRendition: all[1], Track: track}}
}

// A top rung that is a copy of the source has the source's groups of pictures, and therefore its own set.
func TestDASH(t *testing.T) {
	source := hd()
	source.URI, source.Width, source.Height, source.Peak = "1080p/index.m3u8", 1920, 1080, 8000000
	copied := pictureTrack{variant: source, Track: Track{Codecs: source.Codecs, Timescale: 90000}}
	for _, ticks := range []float64{630630, 540540, 450450} {
		copied.Track.Segments = append(copied.Track.Segments, Segment{Duration: ticks / 90000})
	}
	got, err := dashText(presentation{
		Pictures: []pictureTrack{copied, onGrid(hd(), 3, 14), onGrid(sd(), 3, 14)}, Sounds: soundTracks(),
	})
	check(t, got, err, `<?xml version="1.0" encoding="UTF-8"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT18.485133S" minBufferTime="PT2S">
  <Period id="0" start="PT0S">
    <AdaptationSet id="1" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
      <SupplementalProperty schemeIdUri="urn:mpeg:dash:adaptation-set-switching:2016" value="2"></SupplementalProperty>
      <Representation id="1080p" codecs="avc1.64001F" bandwidth="8000000" width="1920" height="1080" frameRate="30000/1001" sar="1:1">
        <SegmentTemplate timescale="90000" startNumber="0" initialization="1080p/init.mp4" media="1080p/seg_$Number%05d$.m4s">
          <SegmentTimeline>
            <S t="0" d="630630"></S>
            <S d="540540"></S>
            <S d="450450"></S>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="2" contentType="video" mimeType="video/mp4" segmentAlignment="true" startWithSAP="1">
      <SupplementalProperty schemeIdUri="urn:mpeg:dash:adaptation-set-switching:2016" value="1"></SupplementalProperty>
      <Representation id="720p" codecs="avc1.64001F" bandwidth="4000000" width="1280" height="720" frameRate="30000/1001" sar="1:1">
        <SegmentTemplate timescale="30000" startNumber="0" initialization="720p/init.mp4" media="720p/seg_$Number%05d$.m4s">
          <SegmentTimeline>
            <S t="0" d="180180" r="2"></S>
            <S d="14014"></S>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
      <Representation id="360p" codecs="avc1.64001E" bandwidth="900000" width="640" height="360" frameRate="30000/1001" sar="1:1">
        <SegmentTemplate timescale="30000" startNumber="0" initialization="360p/init.mp4" media="360p/seg_$Number%05d$.m4s">
          <SegmentTimeline>
            <S t="0" d="180180" r="2"></S>
            <S d="14014"></S>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="3" contentType="audio" mimeType="audio/mp4" lang="en" segmentAlignment="true" startWithSAP="1">
      <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"></AudioChannelConfiguration>
      <Label>English</Label>
      <Role schemeIdUri="urn:mpeg:dash:role:2011" value="main"></Role>
      <Representation id="audio-eng" codecs="mp4a.40.2" bandwidth="130000" audioSamplingRate="48000">
        <SegmentTemplate timescale="48000" startNumber="0" initialization="audio-eng/init.mp4" media="audio-eng/seg_$Number%05d$.m4s">
          <SegmentTimeline>
            <S t="0" d="288768"></S>
            <S d="287744"></S>
            <S d="288768"></S>
            <S d="10240"></S>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
    <AdaptationSet id="4" contentType="audio" mimeType="audio/mp4" lang="und" segmentAlignment="true" startWithSAP="1">
      <AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" value="2"></AudioChannelConfiguration>
      <Label>Audio</Label>
      <Representation id="audio-und" codecs="mp4a.40.2" bandwidth="131000">
        <SegmentTemplate timescale="48000" startNumber="0" initialization="audio-und/init.mp4" media="audio-und/seg_$Number%05d$.m4s">
          <SegmentTimeline>
            <S t="0" d="288768"></S>
            <S d="287744"></S>
            <S d="288768"></S>
            <S d="10240"></S>
          </SegmentTimeline>
        </SegmentTemplate>
      </Representation>
    </AdaptationSet>
  </Period>
</MPD>
`)
}

// sets returns how many representations each adaptation set of pictures has.
func sets(t *testing.T, pictures ...pictureTrack) (sizes []int, text string) {
	t.Helper()
	got, err := dashText(presentation{Pictures: pictures})
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range strings.Split(string(got), "<AdaptationSet ")[1:] {
		sizes = append(sizes, strings.Count(set, "<Representation "))
	}
	return sizes, string(got)
}

func TestAdaptationSets(t *testing.T) {
	base, small := onGrid(hd(), 3, 14), onGrid(sd(), 3, 14)
	half := small // at half the rate: other ticks, and a later end of the last frame
	half.Track.Timescale, half.Track.Segments = 15000, append([]Segment(nil), small.Track.Segments...)
	half.Track.Segments[3].Duration = 15 * 1001.0 / 30000 * 16 / 15
	short, hevc, early := onGrid(sd(), 3, 0), small, small
	hevc.Codecs = "hvc1.1.6.L93.B0"
	early.Track.Segments = append([]Segment{{Duration: 100 * 1001.0 / 30000}}, small.Track.Segments[1:]...)
	for _, c := range []struct {
		name   string
		second pictureTrack
		sets   int
		linked bool
	}{
		{"alike", small, 1, false}, {"half the rate", half, 1, false}, {"another count", short, 2, true},
		{"other times", early, 2, true}, {"another codec", hevc, 2, false},
	} {
		got, text := sets(t, base, c.second)
		if linked := strings.Contains(text, "adaptation-set-switching"); len(got) != c.sets || linked != c.linked {
			t.Errorf("%s: sets of %v, linked %v", c.name, got, linked)
		}
	}
	third := early
	third.URI = "240p/index.m3u8"
	third.Track.Segments = third.Track.Segments[:2]
	if _, text := sets(t, base, early, third); !strings.Contains(text, `value="1,3"`) {
		t.Errorf("the second of three sets does not name the others:\n%s", text)
	}
}

func TestFrameRates(t *testing.T) {
	for _, c := range []struct {
		v    variant
		want string
	}{
		{variant{FrameRateNum: 24000, FrameRateDen: 1001}, "24000/1001"},
		{variant{FrameRateNum: 25, FrameRateDen: 1, FrameRate: 25}, "25"},
		{variant{FrameRate: 50}, "50"}, {variant{FrameRate: 8.797}, "8797/1000"}, {variant{}, ""},
	} {
		if got := c.v.frameRate(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.v, got, c.want)
		}
	}
}

func TestDASHRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*presentation){
		"no pictures":       func(p *presentation) { p.Pictures = nil },
		"no segments":       func(p *presentation) { p.Pictures[1].Track.Segments = nil },
		"no bit rate":       func(p *presentation) { p.Pictures[1].Peak = 0 },
		"no size":           func(p *presentation) { p.Pictures[0].Width = 0 },
		"no codecs":         func(p *presentation) { p.Sounds[0].Codecs = "" },
		"no timescale":      func(p *presentation) { p.Sounds[0].Track.Timescale = 0 },
		"a later part":      func(p *presentation) { p.Pictures[0].Track.First = 3 },
		"one folder":        func(p *presentation) { p.Pictures[1].URI = p.Pictures[0].URI },
		"no length":         func(p *presentation) { p.Pictures[0].Track.Segments[0].Duration = 0 },
		"between its ticks": func(p *presentation) { p.Pictures[0].Track.Timescale = 7 },
	} {
		p := presentation{Pictures: []pictureTrack{onGrid(hd(), 20, 14), onGrid(sd(), 20, 14)}, Sounds: soundTracks()}
		if _, err := dashText(p); err != nil {
			t.Fatal(err)
		}
		spoil(&p)
		if got, err := dashText(p); err == nil {
			t.Errorf("%s passed:\n%s", name, got)
		}
	}
}
