package pipeline

import "context"

// Quotas judges videos by the quotas of their project.
type Quotas interface {
	// Judge returns why a video is refused at e, and nil if it is not. e is job.completed of its fetch job, with
	// which its size is known; video.inspected, with which its length is; or video.outputs_requested, with which
	// it is to be encoded again. Events after e do not count: so two videos that would pass a quota together are
	// judged by their order in the log, and one of them goes on, whoever judges them and when.
	Judge(ctx context.Context, project string, e Event) (*Problem, error)
}

// allowFetched ends a video whose source, now that it is fetched, exceeds a quota.
func (c *Coordinator) allowFetched(ctx context.Context, v *Video) error {
	if _, ok := v.source(); !ok || v.Upload.Fetch == nil || v.Inspect.Last.Sequence != 0 {
		return nil
	}
	return c.allow(ctx, v, v.Fetch.Last)
}

// allowEncoding ends a video whose length, now that it is inspected, exceeds a quota. Once a job of the plan
// has begun, the video goes on.
func (c *Coordinator) allowEncoding(ctx context.Context, v *Video) error {
	if v.Inspected.Sequence == 0 || v.Verdict.Verdict != VerdictAccept || v.Generation > 0 {
		return nil
	}
	for _, f := range v.Jobs {
		if f.Last.Sequence != 0 {
			return nil
		}
	}
	return c.allow(ctx, v, v.Inspected)
}

func (c *Coordinator) allow(ctx context.Context, v *Video, at Event) error {
	if c.Quotas == nil || v.Finished.Sequence != 0 {
		return nil
	}
	problem, err := c.Quotas.Judge(ctx, v.Project, at)
	if err != nil || problem == nil {
		return err
	}
	return c.finish(ctx, v, at, Finish{State: StateVideoErrored, Problem: problem})
}
