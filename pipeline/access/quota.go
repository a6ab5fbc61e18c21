package access

import (
	"context"
	"fmt"

	"github.com/reelmill/reelmill/pipeline"
)

// QuotaData is the data of quota.warned and quota.exceeded.
type QuotaData struct {
	Project string `json:"project"`
	Standing
	Message string `json:"message" doc:"The same in words"`
}

// WarnAt is at how many percent of a quota a project is warned.
const WarnAt = 80

// quotaPrefix begins the thing of the events of a quota. No key has such an id.
const quotaPrefix = "quota-"

// TellQuota appends quota.warned if s is at WarnAt percent or more, or quota.exceeded if s is at 100 or
// exceeded says that something was refused. It appends one of each for a period and a limit, and no warning
// after quota.exceeded: then, and below WarnAt, told is false.
func TellQuota(ctx context.Context, log pipeline.Log, project string, s Standing, exceeded bool) (
	e pipeline.Event, told bool, err error,
) {
	kind := pipeline.QuotaWarned
	switch exceeded = exceeded || s.Percent >= 100; {
	case s.Limit == 0 || !exceeded && s.Percent < WarnAt:
		return pipeline.Event{}, false, nil
	case exceeded:
		kind = pipeline.QuotaExceeded
	}
	thing := quotaPrefix + string(s.Quota)
	e, err = write(ctx, log, project, thing, func(last pipeline.Event) (pipeline.EventType, any, error) {
		var before QuotaData
		told = last.Sequence == 0 || last.Decode(&before) != nil ||
			before.Period != s.Period || before.Limit != s.Limit ||
			kind == pipeline.QuotaExceeded && last.Type == pipeline.QuotaWarned
		if !told {
			return "", nil, nil
		}
		return kind, QuotaData{project, s, s.message(project)}, nil
	})
	return e, told && err == nil, err
}

// message says how a project stands with a quota.
func (s Standing) message(project string) string {
	text := fmt.Sprintf("The project %s has used %.0f of %d %s of %s (%.1f%%).", project, s.Used, s.Limit,
		s.Quota.Unit(), s.Quota, s.Percent)
	if s.RenewsAt == nil {
		return text + " Delete videos, or ask the operator to raise the limit."
	}
	return text + " It renews at " + pipeline.Clock(*s.RenewsAt) + "."
}
