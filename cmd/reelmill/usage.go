package main

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/quota"
)

// usageCommand prints what a project uses.
type usageCommand struct {
	serverFlags
	Last time.Duration `help:"Count what was done in this much time up to now, such as 24h. Default: since the first of the month (UTC)."`
}

// Run prints the usage and a line for each quota.
func (c usageCommand) Run(ctx context.Context, s streams) error {
	var from time.Time
	if c.Last > 0 {
		from = time.Now().Add(-c.Last)
	}
	use, err := c.client().Usage(ctx, from, time.Time{})
	if err != nil {
		return err
	}
	return c.print(s, use, func(w io.Writer) { printUsage(w, use) })
}

func printUsage(w io.Writer, use quota.Report) {
	human.Fprintf(w, "project\t%s\n", use.Project)
	human.Fprintf(w, "stored\t%d videos, %.1f min, %s of sources, %s of outputs\n", use.Stored.Videos,
		use.Stored.Minutes, bytesize.Size(use.Stored.SourceBytes), bytesize.Size(use.Stored.OutputBytes))
	human.Fprintf(w, "since %s\t%d uploads, %s, %.1f min encoded\n", pipeline.Clock(use.From),
		use.Period.Uploads, bytesize.Size(use.Period.UploadedBytes), use.Period.EncodedMinutes)
	for _, q := range use.Quotas {
		renews := "falls when videos are deleted"
		if q.RenewsAt != nil {
			renews = "renews at " + pipeline.Clock(*q.RenewsAt)
		}
		human.Fprintf(w, "%s\t%s of %d %s (%.1f%%), %s\n", q.Quota, strconv.FormatFloat(q.Used, 'f', -1, 64),
			q.Limit, q.Quota.Unit(), q.Percent, renews)
	}
}
