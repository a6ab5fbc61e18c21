package manifest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/reelmill/reelmill/pipeline"
)

// dashName is the file of the MPD, at the top of a video's tree.
const dashName = "manifest.mpd"

// presentation is a whole video for DASH. Every track begins with segment 0 at time 0, is in the folder of
// its URI, and has a Timescale.
type presentation struct {
	Pictures []pictureTrack // at least one, largest first
	Sounds   []audioTrack   // the first is the main one
}

// pictureTrack is one picture rendition with its media.
type pictureTrack struct {
	variant
	Track Track
}

// audioTrack is one audio rendition with its media.
type audioTrack struct {
	audioRendition
	SampleRate int // Hz; 0 if unknown
	Track      Track
}

// dashText returns a static MPD (ISO/IEC 23009-1, profile isoff-live) of the segments that HLS plays.
// Pictures whose segments begin at the same times are one adaptation set, in which players switch. A picture
// with other times, such as a copy of the source, is a set by itself; the sets refer to each other for
// switching (DASH-IF Interoperability Points, 3.8). Every audio rendition is a set. The text is parsed again
// before it is returned.
func dashText(p presentation) ([]byte, error) {
	if len(p.Pictures) == 0 {
		return nil, pipeline.Fail(pipeline.CodeVerification, "an MPD of no pictures")
	}
	doc := mpd{
		Profiles: "urn:mpeg:dash:profile:isoff-live:2011", Type: "static",
		Duration: seconds(p.duration()), MinBuffer: seconds(FragmentSeconds),
		Period: mpdPeriod{ID: "0", Start: "PT0S", Sets: append(pictureSets(p.Pictures), soundSets(p.Sounds)...)},
	}
	for i := range doc.Period.Sets {
		doc.Period.Sets[i].ID = strconv.Itoa(i + 1)
	}
	linkSets(doc.Period.Sets)
	body, err := xml.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode MPD: %w", err)
	}
	text := slices.Concat([]byte(xml.Header), body, []byte("\n"))
	return text, checkDASH(text, p)
}

// duration returns the length of the longest track, in seconds.
func (p presentation) duration() float64 {
	longest := 0.0
	for _, t := range p.tracks() {
		longest = max(longest, t.Duration())
	}
	return longest
}

// tracks returns the tracks by the names of their representations.
func (p presentation) tracks() map[string]Track {
	all := map[string]Track{}
	for _, v := range p.Pictures {
		all[path.Dir(v.URI)] = v.Track
	}
	for _, a := range p.Sounds {
		all[path.Dir(a.URI)] = a.Track
	}
	return all
}

// pictureSets groups pictures into sets within which players can switch, in the order of their first
// pictures.
func pictureSets(pictures []pictureTrack) []mpdSet {
	var sets []mpdSet
	var first []pictureTrack // of each set
	for _, v := range pictures {
		i := slices.IndexFunc(first, func(f pictureTrack) bool {
			return family(f.Codecs) == family(v.Codecs) && aligned(f.Track, v.Track)
		})
		if i < 0 {
			i = len(sets)
			first = append(first, v)
			sets = append(sets, mpdSet{ContentType: "video", MIMEType: "video/mp4", Aligned: true, SAP: 1})
		}
		sets[i].Representations = append(sets[i].Representations, mpdRepresentation{
			ID: path.Dir(v.URI), Codecs: v.Codecs, Bandwidth: v.Peak, Width: v.Width, Height: v.Height,
			FrameRate: v.frameRate(), SAR: "1:1", Template: template(path.Dir(v.URI), v.Track),
		})
	}
	return sets
}

// family returns the codec without its profile: avc1 for avc1.64001F. A player only switches within one.
func family(codecs string) string {
	name, _, _ := strings.Cut(codecs, ".")
	return name
}

// aligned reports whether the segments of two tracks begin at the same times, within half a frame at 60
// frames/s, since a copied source has its own clock. The length of the last one does not matter: at half
// the frame rate it may end a frame later.
func aligned(a, b Track) bool {
	if len(a.Segments) != len(b.Segments) {
		return false
	}
	var at, bt int64
	for i := range a.Segments {
		if math.Abs(float64(at)/float64(a.Timescale)-float64(bt)/float64(b.Timescale)) > 0.008 {
			return false
		}
		at, bt = at+a.ticks(i), bt+b.ticks(i)
	}
	return true
}

// ticks returns the duration of segment i of t in units of its timescale, of which it is a whole number.
func (t Track) ticks(i int) int64 {
	return int64(math.Round(t.Segments[i].Duration * float64(t.Timescale)))
}

// frameRate formats the rate for an MPD, as a fraction or a whole number; empty if unknown.
func (v variant) frameRate() string {
	switch {
	case v.FrameRateNum > 0 && v.FrameRateDen == 1:
		return strconv.Itoa(v.FrameRateNum)
	case v.FrameRateNum > 0 && v.FrameRateDen > 0:
		return fmt.Sprintf("%d/%d", v.FrameRateNum, v.FrameRateDen)
	case v.FrameRate <= 0:
		return ""
	case v.FrameRate == math.Trunc(v.FrameRate):
		return strconv.Itoa(int(v.FrameRate))
	}
	return fmt.Sprintf("%d/1000", int(math.Round(v.FrameRate*1000)))
}

// template lists the segments of a track in dir, with one entry for equal neighbours.
func template(dir string, t Track) mpdTemplate {
	number := strings.Replace(SegmentName, pipeline.SegmentVerb, "$Number"+pipeline.SegmentVerb+"$", 1)
	m := mpdTemplate{
		Timescale: t.Timescale, StartNumber: t.First,
		Initialization: dir + "/" + InitName, Media: dir + "/" + number,
	}
	for i := range t.Segments {
		d := t.ticks(i)
		if last := len(m.Timeline) - 1; last >= 0 && m.Timeline[last].Ticks == d {
			m.Timeline[last].Repeat++
			continue
		}
		m.Timeline = append(m.Timeline, mpdRun{Ticks: d})
	}
	if len(m.Timeline) > 0 {
		m.Timeline[0].Time = new(int64)
	}
	return m
}

func soundSets(sounds []audioTrack) []mpdSet {
	var sets []mpdSet
	for i, a := range sounds {
		set := mpdSet{
			ContentType: "audio", MIMEType: "audio/mp4", Language: a.Language, Aligned: true, SAP: 1, Label: a.Name,
			Channels: &mpdProperty{
				Scheme: "urn:mpeg:dash:23003:3:audio_channel_configuration:2011", Value: strconv.Itoa(a.Channels),
			},
			Representations: []mpdRepresentation{{
				ID: path.Dir(a.URI), Codecs: a.Codecs, Bandwidth: a.Peak, SampleRate: a.SampleRate,
				Template: template(path.Dir(a.URI), a.Track),
			}},
		}
		if set.Language == "" {
			set.Language = "und"
		}
		if i == 0 {
			set.Role = &mpdProperty{Scheme: "urn:mpeg:dash:role:2011", Value: "main"}
		}
		sets = append(sets, set)
	}
	return sets
}

// linkSets makes each set of pictures refer to the others of its codec.
func linkSets(sets []mpdSet) {
	for i := range sets {
		var others []string
		for j, o := range sets {
			if i != j && o.ContentType == "video" && sets[i].ContentType == "video" &&
				family(o.Representations[0].Codecs) == family(sets[i].Representations[0].Codecs) {
				others = append(others, o.ID)
			}
		}
		if len(others) > 0 {
			sets[i].Switching = &mpdProperty{
				Scheme: "urn:mpeg:dash:adaptation-set-switching:2016", Value: strings.Join(others, ","),
			}
		}
	}
}

// seconds formats a duration for XML Schema, to the microsecond.
func seconds(s float64) string {
	text := strconv.FormatFloat(s, 'f', digits, 64)
	return "PT" + strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "S"
}

// checkDASH parses the MPD: every track must be there once, playable, with the times of its segments.
func checkDASH(text []byte, p presentation) error {
	var doc mpd
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = true
	if err := d.Decode(&doc); err != nil {
		return pipeline.Fail(pipeline.CodeVerification, "the MPD cannot be parsed: %v", err)
	}
	tracks, found := p.tracks(), map[string]bool{}
	if len(tracks) != len(p.Pictures)+len(p.Sounds) {
		return pipeline.Fail(pipeline.CodeVerification, "the MPD has two tracks in one folder")
	}
	for _, set := range doc.Period.Sets {
		for _, r := range set.Representations {
			t, ok := tracks[r.ID]
			if !ok || found[r.ID] || r.Bandwidth <= 0 || r.Codecs == "" || t.First != 0 || t.Timescale <= 0 ||
				(set.ContentType == "video") != (r.Width > 0 && r.Height > 0) {
				return pipeline.Fail(pipeline.CodeVerification, "MPD: representation %q is incomplete", r.ID)
			}
			found[r.ID] = true
			if err := r.Template.check(t); err != nil {
				return pipeline.Fail(pipeline.CodeVerification, "MPD: representation %q: %w", r.ID, err)
			}
		}
	}
	if len(found) != len(tracks) {
		return pipeline.Fail(pipeline.CodeVerification, "MPD lists %d of %d tracks", len(found), len(tracks))
	}
	return nil
}

// check compares the timeline with the segments of a track: no time may be off by half a tick.
func (m mpdTemplate) check(t Track) error {
	if len(m.Timeline) == 0 || m.Timeline[0].Time == nil || *m.Timeline[0].Time != 0 {
		return fmt.Errorf("a timeline of %d entries", len(m.Timeline))
	}
	i, at, want := 0, int64(0), 0.0
	for _, run := range m.Timeline {
		for range run.Repeat + 1 {
			if i >= len(t.Segments) || run.Ticks <= 0 {
				return fmt.Errorf("segment %d of %d lasts %d ticks", i, len(t.Segments), run.Ticks)
			}
			at, want = at+run.Ticks, want+t.Segments[i].Duration*float64(t.Timescale)
			if math.Abs(float64(at)-want) >= 0.5 {
				return fmt.Errorf("segment %d ends at tick %d, want %g", i, at, want)
			}
			i++
		}
	}
	if i != len(t.Segments) || m.Timescale != t.Timescale {
		return fmt.Errorf("%d of %d segments at %d ticks/s", i, len(t.Segments), m.Timescale)
	}
	return nil
}
