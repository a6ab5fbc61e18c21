package manifest

import "encoding/xml"

// The elements of an MPD that we write, in the schema's order. Source: ISO/IEC 23009-1:2019, 5 and annex B.
type mpd struct {
	XMLName   xml.Name  `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	Profiles  string    `xml:"profiles,attr"`
	Type      string    `xml:"type,attr"`
	Duration  string    `xml:"mediaPresentationDuration,attr"`
	MinBuffer string    `xml:"minBufferTime,attr"`
	Period    mpdPeriod `xml:"Period"`
}

type mpdPeriod struct {
	ID    string   `xml:"id,attr"`
	Start string   `xml:"start,attr"`
	Sets  []mpdSet `xml:"AdaptationSet"`
}

type mpdSet struct {
	ID              string              `xml:"id,attr"`
	ContentType     string              `xml:"contentType,attr"`
	MIMEType        string              `xml:"mimeType,attr"`
	Language        string              `xml:"lang,attr,omitempty"`
	Aligned         bool                `xml:"segmentAlignment,attr"`
	SAP             int                 `xml:"startWithSAP,attr"`
	Channels        *mpdProperty        `xml:"AudioChannelConfiguration"`
	Switching       *mpdProperty        `xml:"SupplementalProperty"`
	Label           string              `xml:"Label,omitempty"`
	Role            *mpdProperty        `xml:"Role"`
	Representations []mpdRepresentation `xml:"Representation"`
}

type mpdProperty struct {
	Scheme string `xml:"schemeIdUri,attr"`
	Value  string `xml:"value,attr"`
}

type mpdRepresentation struct {
	ID         string      `xml:"id,attr"`
	Codecs     string      `xml:"codecs,attr"`
	Bandwidth  int64       `xml:"bandwidth,attr"`
	Width      int         `xml:"width,attr,omitempty"`
	Height     int         `xml:"height,attr,omitempty"`
	FrameRate  string      `xml:"frameRate,attr,omitempty"`
	SAR        string      `xml:"sar,attr,omitempty"`
	SampleRate int         `xml:"audioSamplingRate,attr,omitempty"`
	Template   mpdTemplate `xml:"SegmentTemplate"`
}

type mpdTemplate struct {
	Timescale      int      `xml:"timescale,attr"`
	StartNumber    int      `xml:"startNumber,attr"`
	Initialization string   `xml:"initialization,attr"`
	Media          string   `xml:"media,attr"`
	Timeline       []mpdRun `xml:"SegmentTimeline>S"`
}

// mpdRun is Repeat+1 segments of equal length. Time is where the first run begins.
type mpdRun struct {
	Time   *int64 `xml:"t,attr"`
	Ticks  int64  `xml:"d,attr"`
	Repeat int    `xml:"r,attr,omitempty"`
}
