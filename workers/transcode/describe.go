package transcode

import (
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers"
)

// Describe implements workers.Describer. Its kinds are chunk, copy and file.
func (w *Worker) Describe(job pipeline.Job, m pipeline.Media) (workers.Description, error) {
	p, err := partOf(job)
	if err != nil {
		return workers.Description{}, err
	}
	d := workers.Description{Kind: string(p.Kind)}
	if p.Kind == fileKind {
		return d, nil // the file is made from outputs of other jobs
	}
	rate := p.Rate.Float()
	if rate <= 0 {
		return d, pipeline.Fail(pipeline.CodeParameters, "part of the job: no frame rate")
	}
	start, end := float64(p.Start), float64(p.End)
	if p.End == 0 {
		end = max(start, m.Duration*rate)
	}
	d.Start, d.End = start/rate, end/rate
	for _, r := range p.Rungs {
		d.Renditions = append(d.Renditions, r.describe())
		if p.Kind == chunkKind {
			frames := max(0, end-start-float64(r.Skip)) * r.Rate.Float() / rate
			d.Pixels += frames * float64(r.Size.Width*r.Size.Height)
		}
	}
	if p.Kind == chunkKind {
		d.Bytes = job.Scratch / 2 // the other half is ffmpeg's file, from which segments are cut (planner.scratch)
	}
	return d, nil
}

func (r rung) describe() workers.Rendition {
	return workers.Rendition{
		Name: r.Name, Width: r.Size.Width, Height: r.Size.Height,
		FrameRateNum: r.Rate.Num, FrameRateDen: r.Rate.Den, Maxrate: 1000 * r.Maxrate,
	}
}
