package quota

import (
	"context"
	"time"

	"github.com/reelmill/reelmill/pipeline/access"
)

// Report is what a project uses, and how it stands with its quotas.
type Report struct {
	Project string    `json:"project"`
	From    time.Time `json:"from" doc:"Start of the range"`
	To      time.Time `json:"to" doc:"End of the range, which is not part of it"`

	Stored StoredUse `json:"stored" doc:"What the project has now"`
	Period PeriodUse `json:"period" doc:"What it did in the range; deleting a video changes nothing of it"`

	Limits access.Limits     `json:"limits" doc:"Those that are left out are no limits"`
	Quotas []access.Standing `json:"quotas" doc:"How the project stands with each quota that it has"`
}

// StoredUse is what a project has now.
type StoredUse struct {
	Videos      int     `json:"videos" doc:"Videos that are not deleted"`
	Minutes     float64 `json:"minutes" doc:"Of video that is kept, or made, to be played"`
	SourceBytes int64   `json:"source_bytes" doc:"Of the sources"`
	OutputBytes int64   `json:"output_bytes" doc:"Of what was made of them"`
}

// PeriodUse is what a project did in a range of time.
type PeriodUse struct {
	Uploads        int     `json:"uploads" doc:"Videos uploaded, or to be fetched"`
	UploadedBytes  int64   `json:"uploaded_bytes" doc:"Uploaded or fetched"`
	EncodedMinutes float64 `json:"encoded_minutes" doc:"Of the videos whose encoding began, each once, however many renditions it has, and once more for each addition"`
}

// Report returns what a project uses now, and what it did from from until before to. The zero from is the
// start of this month, and the zero to is now.
func (k *Keeper) Report(ctx context.Context, project string, from, to time.Time) (r Report, err error) {
	if now := k.now().UTC(); to.IsZero() {
		to = now
	}
	if from.IsZero() {
		from = access.Encoded.Begins(k.now())
	}
	r = Report{Project: project, From: from.UTC(), To: to.UTC()}
	if r.Limits, err = k.Limits(ctx, project); err != nil {
		return r, err
	}
	if r.Quotas, err = k.standings(ctx, project, r.Limits); err != nil {
		return r, err
	}
	u, err := k.Counts.Usage(ctx, project, r.From, r.To)
	r.Stored = StoredUse{u.Videos, minutes(u.StoredMS), u.SourceBytes, u.OutputBytes}
	r.Period = PeriodUse{u.Uploads, u.UploadedBytes, minutes(u.EncodedMS)}
	return r, err
}
