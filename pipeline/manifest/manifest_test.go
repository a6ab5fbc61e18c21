package manifest

import "testing"

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

func TestMediaPlaylist(t *testing.T) {
	got, err := MediaPlaylist(Track{Segments: []Segment{{Duration: 6.006, Size: 1}, {Duration: 6.006, Size: 1}, {Duration: 0.467133, Size: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `#EXTM3U
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
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMaster(t *testing.T) {
	got, err := Master(
		[]Variant{
			{URI: "720p/index.m3u8", Codecs: "avc1.64001F", Width: 1280, Height: 720, FrameRate: 30000.0 / 1001, Peak: 4000000, Average: 3000000},
			{URI: "360p/index.m3u8", Codecs: "avc1.64001E", Width: 640, Height: 360, FrameRate: 30000.0 / 1001, Peak: 900000, Average: 600000},
		},
		[]Audio{
			{URI: "audio-eng/index.m3u8", Name: "English", Language: "en", Channels: 2, Codecs: "mp4a.40.2", Peak: 130000, Average: 128000},
			{URI: "audio-und/index.m3u8", Name: "Audio", Channels: 2, Codecs: "mp4a.40.2", Peak: 131000, Average: 127000},
		})
	if err != nil {
		t.Fatal(err)
	}
	want := `#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="Audio",DEFAULT=NO,AUTOSELECT=YES,CHANNELS="2",URI="audio-und/index.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio-eng/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=4131000,AVERAGE-BANDWIDTH=3128000,CODECS="avc1.64001F,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"
720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1031000,AVERAGE-BANDWIDTH=728000,CODECS="avc1.64001E,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio"
360p/index.m3u8
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := Master([]Variant{{URI: "720p/index.m3u8", Codecs: "avc1.64001F"}}, nil); err == nil {
		t.Error("a variant without a bit rate passed")
	}
}
