package stats

import "time"

// ObjectiveShare is the share of videos that an objective is for.
const ObjectiveShare = 0.95

// Objective says whether videos became playable as soon as the operator wants. Videos that are late count,
// though they have no time yet: a quantile of the times alone looks best when nothing gets done.
type Objective struct {
	Seconds  float64 `json:"seconds" doc:"Within so many seconds of its upload a video should be playable"`
	Playable int     `json:"playable" doc:"Videos that became playable in the range"`
	Within   int     `json:"within" doc:"Those of them that did so in time"`
	Late     int     `json:"late" doc:"Videos that are not playable now and should be"`
	Met      bool    `json:"met" doc:"True when 95% of all these were in time, or when there are none"`
}

// Objective compares the videos of a tally, and those that are late now, with the time in which they should
// have become playable.
func (t *Tally) Objective(within time.Duration, late int) Objective {
	o := Objective{Seconds: within.Seconds(), Late: late}
	for i := range t.windows {
		for _, took := range t.windows[i].playable {
			o.Playable++
			if took <= o.Seconds {
				o.Within++
			}
		}
	}
	o.Met = float64(o.Within) >= ObjectiveShare*float64(o.Playable+o.Late)
	return o
}
