package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/stats"
)

// checkAPI compares the answers of the API with the accepted videos and the folder of objects, after a phase.
func (p *phase) checkAPI(ctx context.Context, r *result) error {
	referred := map[string]bool{} // keys of outputs
	for _, v := range p.load.videos {
		if v.id == "" {
			continue
		}
		var view pipeline.VideoView
		status, err := p.get(ctx, "/v1/videos/"+v.id, &view)
		switch {
		case err != nil:
			return err
		case v.deleted && status != http.StatusNotFound:
			r.violate(wrong, v.id, "it is deleted, and the API answers %d", status)
		case v.deleted:
		case status != http.StatusOK:
			r.violate(lost, v.id, "the API answers %d", status)
		case view.Status != v.expect:
			r.violate(wrong, v.id, "the API says %s, want %s", view.Status, v.expect)
		}
		if v.deleted || status != http.StatusOK {
			continue
		}
		outputs, _, err := list[pipeline.OutputView](ctx, p, "/v1/videos/"+v.id+"/outputs")
		if err != nil {
			return err
		}
		if len(outputs) == 0 && view.Status == pipeline.StateVideoReady {
			r.violate(lost, v.id, "it is ready and has no outputs")
		}
		for _, o := range outputs {
			r.Outputs++
			if why := p.checkOutput(v, o, referred); why != "" {
				r.violate(wrong, v.id, "output %s of %s: %s", o.Path, o.Job, why)
			}
		}
	}
	p.countLeftovers(r, referred)
	if err := p.checkLetters(ctx, r); err != nil {
		return err
	}
	return p.checkStats(ctx, r)
}

// checkOutput returns what is wrong with an output in the store; empty for nothing.
func (p *phase) checkOutput(v *video, o pipeline.OutputView, referred map[string]bool) string {
	if o.Segments != nil {
		total := int64(0)
		for n := o.Segments.First; n < o.Segments.First+o.Segments.Count; n++ {
			key := strings.Replace(o.Key, pipeline.SegmentVerb, fmt.Sprintf(pipeline.SegmentVerb, n), 1)
			referred[key] = true
			info, err := os.Stat(filepath.Join(p.store, key))
			if err != nil {
				return err.Error()
			}
			total += info.Size()
		}
		if total != o.Size {
			return fmt.Sprintf("%d bytes, want %d", total, o.Size)
		}
		return ""
	}
	referred[o.Key] = true
	content, err := os.ReadFile(filepath.Join(p.store, o.Key))
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(content)
	switch {
	case int64(len(content)) != o.Size:
		return fmt.Sprintf("%d bytes, want %d", len(content), o.Size)
	case hex.EncodeToString(sum[:]) != o.SHA256:
		return "another SHA-256"
	case o.Kind == "chaos" && !bytes.Equal(content, chaosContent(v.id, o.Job, len(content))):
		return "not what this job of this video writes"
	}
	return ""
}

// chaosContent returns what a job of the worker type chaos writes
// (cmd/reelmill/internal/node/faults_worker.go).
func chaosContent(video, job string, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(video + "/" + job))).Read(content) // never fails
	return content
}

// countLeftovers counts the objects that nothing refers to, including those of deleted videos.
func (p *phase) countLeftovers(r *result, referred map[string]bool) {
	_ = filepath.WalkDir(p.store, func(name string, d fs.DirEntry, err error) error {
		key, ok := strings.CutPrefix(name, p.store+"/")
		at, ours := pipeline.Locate(key)
		if err == nil && ok && !d.IsDir() && ours && at.Job != "" && !referred[key] {
			r.Leftovers++
		}
		return nil // an object that is gone meanwhile is no leftover
	})
}

// letter is a dead letter in the API.
type letter struct {
	Video   string           `json:"video_id"`
	Job     string           `json:"job"`
	Worker  string           `json:"worker"`
	Problem pipeline.Problem `json:"error"`
}

// checkLetters checks that the jobs meant to fail have dead letters, and no others.
func (p *phase) checkLetters(ctx context.Context, r *result) error {
	letters, status, err := list[letter](ctx, p, "/v1/dead_letters")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		r.violate(wrong, "", "GET /v1/dead_letters answers %d", status)
		return nil
	}
	byID := map[string]*video{}
	for _, v := range p.load.videos {
		byID[v.id] = v
	}
	hasLetter := map[string]bool{}
	for _, l := range letters {
		hasLetter[l.Video+"/"+l.Job] = true
		if v := byID[l.Video]; v == nil || !v.deleted && !mayFail(v, l.Worker) {
			r.violate(spurious, l.Video, "a letter of %s: %s", l.Job, l.Problem.Error())
		}
	}
	events, err := p.events(ctx)
	if err != nil {
		return err
	}
	for id, all := range events {
		for _, e := range all {
			_, _, job, _ := pipeline.Address(e.Subject)
			if e.Type == pipeline.JobErrored && !hasLetter[id+"/"+job] {
				r.violate(lost, id, "%s failed for good and has no dead letter", job)
			}
		}
	}
	return nil
}

// checkStats compares the statistics with the counted events. How a deleted video ended before is unknown.
func (p *phase) checkStats(ctx context.Context, r *result) error {
	var stats stats.Stats
	from := p.began.Add(-5 * time.Minute).UTC().Format(time.RFC3339)
	to := time.Now().Add(5 * time.Minute).UTC().Format(time.RFC3339)
	status, err := p.get(ctx, "/v1/stats?window=5m&from="+from+"&to="+to, &stats)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		r.violate(wrong, "", "GET /v1/stats answers %d", status)
		return nil
	}
	failed := 0
	for _, n := range stats.Total.Failed {
		failed += n
	}
	deleted, bad := r.Ends["deleted"], r.Ends["errored"]+r.Ends["rejected"]
	for _, c := range []struct {
		what            string
		told, low, high int
	}{
		{"uploaded", stats.Total.Uploaded, r.Accepted, r.Accepted},
		{"ready", stats.Total.Ready, r.Ends["ready"], r.Ends["ready"] + deleted},
		{"failed", failed, bad, bad + deleted},
		{"canceled", stats.Total.Canceled, r.Ends["canceled"], r.Ends["canceled"] + deleted},
	} {
		if c.told < c.low || c.told > c.high {
			r.violate(wrong, "", "the statistics say %d %s, want %d to %d", c.told, c.what, c.low, c.high)
		}
	}
	return nil
}
