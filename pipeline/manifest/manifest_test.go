package manifest

import (
	"slices"
	"strings"
	"testing"
)

func TestRates(t *testing.T) {
	for _, c := range []struct {
		name          string
		segments      []Segment
		peak, average int64
	}{
		{"one", []Segment{{Duration: 6, Size: 6000}}, 8000, 8000},
		{"even", []Segment{{Duration: 6, Size: 6000}, {Duration: 6, Size: 6000}}, 8000, 8000},
		{"a peak", []Segment{{Duration: 6, Size: 3000}, {Duration: 6, Size: 9000}, {Duration: 6, Size: 3000}}, 12000, 6667},
		// The last sliver is too short to be a peak of its own; with its neighbour it is one.
		{"a sliver", []Segment{{Duration: 6, Size: 6000}, {Duration: 0.04, Size: 5000}}, 14570, 14570},
		{"short", []Segment{{Duration: 0.04, Size: 500}}, 100000, 100000},
		{"none", nil, 0, 0},
	} {
		peak, average := Rates(c.segments)
		if peak != c.peak || average != c.average {
			t.Errorf("%s: %d %d, want %d %d", c.name, peak, average, c.peak, c.average)
		}
	}
}

// lengths returns a track of segments with these lengths in seconds.
func lengths(seconds ...float64) Track {
	t := Track{Codecs: "avc1.64001F", Timescale: 30000}
	for _, s := range seconds {
		t.Segments = append(t.Segments, Segment{Duration: s, Size: int64(s * 1000)})
	}
	return t
}

// check compares a text with the expected one.
func check(t *testing.T, got []byte, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMediaOfAWholeTrack(t *testing.T) {
	got, err := MediaPlaylist(lengths(6.006, 6.006, 0.467133))
	check(t, got, err, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="init.mp4"
#EXTINF:6.006000,
seg_00000.m4s
#EXTINF:6.006000,
seg_00001.m4s
#EXTINF:0.467133,
seg_00002.m4s
#EXT-X-ENDLIST
`)
}

func TestMediaOfAGrowingTrack(t *testing.T) {
	got, err := mediaText(lengths(4.4), mediaOptions{Growing: true})
	check(t, got, err, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-START:TIME-OFFSET=0,PRECISE=YES
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-TARGETDURATION:6
#EXT-X-MAP:URI="init.mp4"
#EXTINF:4.400000,
seg_00000.m4s
`)
}

func TestTargetDuration(t *testing.T) {
	for _, c := range []struct {
		name    string
		track   Track
		options mediaOptions
		want    string
	}{
		{"whole, short", lengths(0.2), mediaOptions{}, "1"},
		{"whole, that was said to grow longer", lengths(2), mediaOptions{Target: 9}, "9"},
		{"whole, long", lengths(6, 9.5), mediaOptions{}, "10"},
		{"growing, short", lengths(2), mediaOptions{Growing: true}, "6"},
		{"growing, as asked", lengths(2), mediaOptions{Growing: true, Target: 10}, "10"},
		{"growing, asked for less", lengths(2), mediaOptions{Growing: true, Target: 3}, "6"},
		{"growing, a long segment", lengths(11.7), mediaOptions{Growing: true, Target: 10}, "12"},
		{"nothing yet", Track{}, mediaOptions{Growing: true}, "6"},
	} {
		got, err := mediaText(c.track, c.options)
		if err != nil || !strings.Contains(string(got), "\n#EXT-X-TARGETDURATION:"+c.want+"\n") {
			t.Errorf("%s: want %s in\n%s%v", c.name, c.want, got, err)
		}
	}
}

func TestIFrames(t *testing.T) {
	track := lengths(4, 1.5)
	track.First = 7
	track.Segments[0].Keys = []Key{{Offset: 0, Size: 1000, Duration: 2}, {Offset: 5000, Size: 3000, Duration: 2}}
	track.Segments[1].Keys = []Key{{Offset: 0, Size: 600, Duration: 1.5}}
	got, err := iFramesText(track)
	check(t, got, err, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PLAYLIST-TYPE:VOD
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-TARGETDURATION:2
#EXT-X-I-FRAMES-ONLY
#EXT-X-MAP:URI="init.mp4"
#EXT-X-BYTERANGE:1000@0
#EXTINF:2.000000,
seg_00007.m4s
#EXT-X-BYTERANGE:3000@5000
#EXTINF:2.000000,
seg_00007.m4s
#EXT-X-BYTERANGE:600@0
#EXTINF:1.500000,
seg_00008.m4s
#EXT-X-ENDLIST
`)
	if peak, average := iFrameRates(track); peak != 12000 || average != 6691 {
		t.Errorf("%d %d bits/s", peak, average)
	}
	track.Segments[1].Keys = nil
	if got, err := iFramesText(track); err == nil {
		t.Errorf("a segment without a keyframe passed:\n%s", got)
	}
}

func hd() variant {
	return variant{
		URI: "720p/index.m3u8", Codecs: "avc1.64001F", Width: 1280, Height: 720, FrameRate: 30000.0 / 1001,
		FrameRateNum: 30000, FrameRateDen: 1001, Peak: 4000000, Average: 3000000,
	}
}

func sd() variant {
	return variant{
		URI: "360p/index.m3u8", Codecs: "avc1.64001E", Width: 640, Height: 360, FrameRate: 30000.0 / 1001,
		FrameRateNum: 30000, FrameRateDen: 1001, Peak: 900000, Average: 600000,
	}
}

func sounds() []audioRendition {
	return []audioRendition{
		{URI: "audio-eng/index.m3u8", Name: "English", Language: "en", Channels: 2, Codecs: "mp4a.40.2", Peak: 130000, Average: 128000},
		{URI: "audio-und/index.m3u8", Name: "Audio", Channels: 2, Codecs: "mp4a.40.2", Peak: 131000, Average: 127000},
	}
}

func TestMaster(t *testing.T) {
	got, err := masterText([]variant{hd(), sd()}, sounds())
	check(t, got, err, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="2",URI="audio-und/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio-eng/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1031000,AVERAGE-BANDWIDTH=728000,CODECS="avc1.64001E,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,VIDEO-RANGE=SDR,AUDIO="audio",CLOSED-CAPTIONS=NONE
360p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=4131000,AVERAGE-BANDWIDTH=3128000,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,VIDEO-RANGE=SDR,AUDIO="audio",CLOSED-CAPTIONS=NONE
720p/index.m3u8
`)
	if _, err := masterText([]variant{{URI: "720p/index.m3u8", Codecs: "avc1.64001F"}}, nil); err == nil {
		t.Error("a variant without a bit rate passed")
	}
}

// The master names every codec of every audio rendition once, since a player may use any of them.
func TestMasterNamesAllCodecs(t *testing.T) {
	mixed := sounds()
	mixed[1].Codecs = "opus"
	got, err := masterText([]variant{hd()}, append(mixed, audioRendition{URI: "c/index.m3u8", Name: "C", Codecs: "mp4a.40.2"}))
	if want := `CODECS="avc1.64001F,mp4a.40.2,opus",`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("%v; want %s in\n%s", err, want, got)
	}
}

func TestMasterWithIFrames(t *testing.T) {
	v := hd()
	v.IFramesURI, v.IFramesPeak, v.IFramesAverage = "720p/"+iFramesName, 250000, 200000
	got, err := masterText([]variant{v, sd()}, nil)
	check(t, got, err, `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-STREAM-INF:BANDWIDTH=900000,AVERAGE-BANDWIDTH=600000,CODECS="avc1.64001E",RESOLUTION=640x360,FRAME-RATE=29.970,VIDEO-RANGE=SDR,CLOSED-CAPTIONS=NONE
360p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=4000000,AVERAGE-BANDWIDTH=3000000,CODECS="avc1.64001F",RESOLUTION=1280x720,FRAME-RATE=29.970,VIDEO-RANGE=SDR,CLOSED-CAPTIONS=NONE
720p/index.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=250000,AVERAGE-BANDWIDTH=200000,CODECS="avc1.64001F",RESOLUTION=1280x720,VIDEO-RANGE=SDR,URI="720p/iframes.m3u8"
`)
	v.IFramesPeak = 0
	if _, err := masterText([]variant{v}, nil); err == nil {
		t.Error("an I-frame playlist without a bit rate passed")
	}
}

// TestMasterBeginsInTheMiddle: players begin with the first variant, which is neither the largest nor,
// among three and more, the smallest. The others and the I-frames keep their order.
func TestMasterBeginsInTheMiddle(t *testing.T) {
	names := []string{"1080p", "720p", "540p", "480p", "360p"}
	for count, want := range map[int]string{
		1: "1080p", 2: "720p 1080p", 3: "720p 1080p 540p", 4: "540p 1080p 720p 480p", 5: "540p 1080p 720p 480p 360p",
	} {
		var variants []variant
		for _, name := range names[:count] {
			v := hd()
			v.URI, v.IFramesURI, v.IFramesPeak = name+"/index.m3u8", name+"/"+iFramesName, 1000
			variants = append(variants, v)
		}
		text, err := masterText(variants, sounds())
		if err != nil {
			t.Fatal(err)
		}
		var listed, frames []string
		for line := range strings.Lines(string(text)) {
			if name, ok := strings.CutSuffix(line, "/index.m3u8\n"); ok && !strings.HasPrefix(line, "#") {
				listed = append(listed, name)
			}
			if _, uri, ok := strings.Cut(line, `URI="`); ok && strings.HasPrefix(line, "#EXT-X-I-FRAME") {
				frames = append(frames, strings.TrimSuffix(uri, "/iframes.m3u8\"\n"))
			}
		}
		if got := strings.Join(listed, " "); got != want || !slices.Equal(frames, names[:count]) {
			t.Errorf("of %d: %s, want %s; I-frames of %v", count, got, want, frames)
		}
		if variants[0].URI != "1080p/index.m3u8" {
			t.Error("the variants were moved")
		}
	}
}
