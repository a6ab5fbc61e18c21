package access

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// Limits bound what a project may use. A field that is 0 sets no limit. Days and months are those of UTC.
type Limits struct {
	// RequestsPerSecond and RequestBurst hold for each process that serves the API.
	RequestsPerSecond int `json:"requests_per_second,omitempty" minimum:"0" maximum:"1000000" doc:"Requests a second, on average, that each server process answers; 0: no limit"`
	RequestBurst      int `json:"request_burst,omitempty" minimum:"0" maximum:"1000000" doc:"Requests at once; 0: twice requests_per_second"`
	UploadsAtOnce     int `json:"uploads_at_once,omitempty" minimum:"0" maximum:"1000000" doc:"Requests that send bytes of uploads to one server process at once; 0: no limit"`

	UploadBytesPerDay      int64 `json:"upload_bytes_per_day,omitempty" minimum:"0" maximum:"9007199254740991" doc:"Bytes uploaded or fetched on a day of UTC; 0: no limit"`
	MinutesStored          int64 `json:"minutes_stored,omitempty" minimum:"0" maximum:"9007199254740" doc:"Minutes of video that are kept; 0: no limit"`
	MinutesEncodedPerMonth int64 `json:"minutes_encoded_per_month,omitempty" minimum:"0" maximum:"9007199254740" doc:"Minutes of video whose encoding begins in a month of UTC; 0: no limit"`

	// EncodesAtOnce holds for all workers together.
	EncodesAtOnce int `json:"encodes_at_once,omitempty" minimum:"0" maximum:"1000000" doc:"Jobs of the worker type transcode, each a piece of a video, that all workers together run at once; 0: no limit"`

	// Weight bounds nothing: it says how the project shares workers with others.
	Weight int `json:"weight,omitempty" minimum:"0" maximum:"100" doc:"How many jobs of the project workers take for one of a project of weight 1, while both have some that wait; 0: 1"`
}

// maxRate is the highest number of requests, and maxMinutes of minutes, that a limit may have: sums of them
// are exact in JSON's numbers. maxWeight is the highest weight.
const (
	maxRate    = 1_000_000
	maxBytes   = 1<<53 - 1
	maxMinutes = maxBytes / 1000
	maxWeight  = 100
)

// check returns ErrInvalid for limits that are negative or too high.
func (l Limits) check() error {
	for _, f := range []struct {
		name       string
		value, max int64
	}{
		{"requests_per_second", int64(l.RequestsPerSecond), maxRate},
		{"request_burst", int64(l.RequestBurst), maxRate},
		{"uploads_at_once", int64(l.UploadsAtOnce), maxRate},
		{string(UploadBytes), l.UploadBytesPerDay, maxBytes},
		{string(Stored), l.MinutesStored, maxMinutes},
		{string(Encoded), l.MinutesEncodedPerMonth, maxMinutes},
		{"encodes_at_once", int64(l.EncodesAtOnce), maxRate},
		{"weight", int64(l.Weight), maxWeight},
	} {
		if f.value < 0 || f.value > f.max {
			return fmt.Errorf("%w: the limit %s is %d; it can be 0, for none, to %d", ErrInvalid, f.name, f.value,
				f.max)
		}
	}
	if l.RequestBurst > 0 && l.RequestsPerSecond == 0 {
		return fmt.Errorf("%w: the limit request_burst needs requests_per_second", ErrInvalid)
	}
	return nil
}

// Burst returns how many requests may come at once.
func (l Limits) Burst() int { return cmp.Or(l.RequestBurst, 2*l.RequestsPerSecond) }

// Quota is a limit on what a project uses in total, as opposed to one on what it does at once. Its value is
// the name of the limit.
type Quota string

// The quotas.
const (
	UploadBytes Quota = "upload_bytes_per_day"
	Stored      Quota = "minutes_stored"
	Encoded     Quota = "minutes_encoded_per_month"
)

// Quotas lists all quotas.
var Quotas = []Quota{UploadBytes, Stored, Encoded}

// Of returns the limit of a quota; 0: none.
func (l Limits) Of(q Quota) int64 {
	switch q {
	case UploadBytes:
		return l.UploadBytesPerDay
	case Stored:
		return l.MinutesStored
	case Encoded:
		return l.MinutesEncodedPerMonth
	}
	return 0
}

// Any reports whether some quota has a limit.
func (l Limits) Any() bool { return l.UploadBytesPerDay+l.MinutesStored+l.MinutesEncodedPerMonth > 0 }

// Unit returns what a quota counts, for people.
func (q Quota) Unit() string {
	if q == UploadBytes {
		return "bytes"
	}
	return "minutes"
}

// Period returns the period of a quota that a time is in, such as 2026-11-28 or 2026-11, and when the next
// one begins. Minutes stored do not renew: renews is zero, and the period, a month, only says how often
// somebody is told of it.
func (q Quota) Period(at time.Time) (name string, renews time.Time) {
	year, month, day := at.UTC().Date()
	switch q {
	case UploadBytes:
		return at.UTC().Format(time.DateOnly), time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	case Encoded:
		renews = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return at.UTC().Format("2006-01"), renews
}

// Begins returns when the day or month of UTC that at is in began.
func (q Quota) Begins(at time.Time) time.Time {
	year, month, day := at.UTC().Date()
	if q != UploadBytes {
		day = 1
	}
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// Standing is how a project stands with one of its quotas.
type Standing struct {
	Quota    Quota      `json:"quota" enum:"upload_bytes_per_day,minutes_stored,minutes_encoded_per_month" doc:"The name of the limit"`
	Limit    int64      `json:"limit" doc:"Bytes or minutes"`
	Used     float64    `json:"used" doc:"Bytes or minutes; open uploads count with the size that they announced"`
	Percent  float64    `json:"percent" doc:"Of the limit"`
	Period   string     `json:"period" doc:"A day or month of UTC" example:"2026-11-28"`
	RenewsAt *time.Time `json:"renews_at" doc:"When the use begins at 0 again; null: it falls when videos are deleted"`
}

// Stand returns how a project stands that has used so much of a quota at a time.
func (l Limits) Stand(q Quota, used float64, at time.Time) Standing {
	s := Standing{Quota: q, Limit: l.Of(q), Used: used}
	var renews time.Time
	if s.Period, renews = q.Period(at); !renews.IsZero() {
		s.RenewsAt = &renews
	}
	if s.Limit > 0 {
		s.Percent = math.Round(1000*used/float64(s.Limit)) / 10
	}
	return s
}

// Limits returns the limits of a project; none for one that does not exist.
func (s *State) Limits(project string) Limits {
	p, _ := s.Project(project)
	return p.Limits
}

// Retention returns the rules of the projects that have some.
func (s *State) Retention() map[string]pipeline.Retention {
	rules := map[string]pipeline.Retention{}
	for name, p := range s.projects {
		if !p.Deleted && p.Retention != (pipeline.Retention{}) {
			rules[name] = p.Retention
		}
	}
	return rules
}

// checkRate returns ErrInvalid for what cannot be the rate of a key.
func checkRate(perSecond int) error {
	if perSecond < 0 || perSecond > maxRate {
		return fmt.Errorf("%w: the key's requests_per_second is %d; it can be 0, for none, to %d",
			ErrInvalid, perSecond, maxRate)
	}
	return nil
}
