package access

import "github.com/reelmill/reelmill/pipeline"

// Change says what to change about the settings of a project. What is nil stays.
type Change struct {
	Title          *string                  `json:"title,omitempty" maxLength:"256" doc:"For people; may be empty"`
	Limits         *LimitsChange            `json:"limits,omitempty" doc:"The limits to change; others stay, and a new project has none"`
	PlaybackPolicy *pipeline.PlaybackPolicy `json:"playback_policy,omitempty" enum:"public,signed" doc:"Of videos whose upload says none"`
	Retention      *RetentionChange         `json:"retention,omitempty" doc:"The rules to change; others stay, and a new project has none"`
}

// RetentionChange says which rules of retention to change. What is nil stays, and 0 takes a rule away.
type RetentionChange struct {
	_ struct{} `additionalProperties:"false"`

	SourceDays *int `json:"source_days,omitempty" minimum:"0" maximum:"36500" doc:"Days after its end for which the source of a video is kept; 0: for ever"`
	VideoDays  *int `json:"video_days,omitempty" minimum:"0" maximum:"36500" doc:"Days after its end for which a video is kept, with all that was made of it; 0: for ever"`
}

// LimitsChange says which limits of a project to change. What is nil stays, and 0 takes a limit away.
type LimitsChange struct {
	_ struct{} `additionalProperties:"false"`

	RequestsPerSecond *int `json:"requests_per_second,omitempty" minimum:"0" maximum:"1000000" doc:"Requests a second, on average, that each server process answers; 0: no limit"`
	RequestBurst      *int `json:"request_burst,omitempty" minimum:"0" maximum:"1000000" doc:"Requests at once; 0: twice requests_per_second"`
	UploadsAtOnce     *int `json:"uploads_at_once,omitempty" minimum:"0" maximum:"1000000" doc:"Requests that send bytes of uploads to one server process at once; 0: no limit"`

	UploadBytesPerDay      *int64 `json:"upload_bytes_per_day,omitempty" minimum:"0" maximum:"9007199254740991" doc:"Bytes uploaded or fetched on a day of UTC; 0: no limit"`
	MinutesStored          *int64 `json:"minutes_stored,omitempty" minimum:"0" maximum:"9007199254740" doc:"Minutes of video that are kept; 0: no limit"`
	MinutesEncodedPerMonth *int64 `json:"minutes_encoded_per_month,omitempty" minimum:"0" maximum:"9007199254740" doc:"Minutes of video whose encoding begins in a month of UTC; 0: no limit"`

	EncodesAtOnce *int `json:"encodes_at_once,omitempty" minimum:"0" maximum:"1000000" doc:"Jobs of the worker type transcode, each a piece of a video, that all workers together run at once; 0: no limit"`

	Weight *int `json:"weight,omitempty" minimum:"0" maximum:"100" doc:"How many jobs of the project workers take for one of a project of weight 1, while both have some that wait; 0: 1"`
}

// Apply returns settings with the change. It does not check them: ChangeProject does.
func (c Change) Apply(to Settings) Settings {
	set(&to.Title, c.Title)
	set(&to.PlaybackPolicy, c.PlaybackPolicy)
	if c.Limits != nil {
		to.Limits = c.Limits.apply(to.Limits)
	}
	if c.Retention != nil {
		set(&to.Retention.SourceDays, c.Retention.SourceDays)
		set(&to.Retention.VideoDays, c.Retention.VideoDays)
	}
	return to
}

// Checked is Apply, and returns ErrInvalid for settings that are not allowed.
func (c Change) Checked(to Settings) (Settings, error) {
	to = c.Apply(to)
	return to, to.check()
}

func (c LimitsChange) apply(to Limits) Limits {
	set(&to.RequestsPerSecond, c.RequestsPerSecond)
	set(&to.RequestBurst, c.RequestBurst)
	set(&to.UploadsAtOnce, c.UploadsAtOnce)
	set(&to.UploadBytesPerDay, c.UploadBytesPerDay)
	set(&to.MinutesStored, c.MinutesStored)
	set(&to.MinutesEncodedPerMonth, c.MinutesEncodedPerMonth)
	set(&to.EncodesAtOnce, c.EncodesAtOnce)
	set(&to.Weight, c.Weight)
	return to
}

// set sets a field to a value, unless that is nil.
func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}
