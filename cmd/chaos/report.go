package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// report prints the table, writes the file of results, and reports whether the promises were kept.
func (h *harness) report(results []*result) error {
	hits := h.points.hits()
	all := pointsOf("both")
	var missed []string
	for _, p := range all {
		if hits[p] == 0 {
			missed = append(missed, p)
		}
	}
	fmt.Printf("\nseed %d, %.3g minutes\nsettings: %s\n\nfaults\n", h.seed, h.minutes, settings)
	for _, f := range slices.Sorted(maps.Keys(h.faults)) {
		fmt.Printf("%7d  %s\n", h.faults[f], f)
	}
	fmt.Printf("\nkill points: processes died at %d of %d; not reached: %s\n",
		len(all)-len(missed), len(all), strings.Join(missed, " "))
	fmt.Printf("\n%-34s%9s%9s%6s%6s%8s%6s%9s%6s%8s%8s\n", "", "accepted", "finished", "jobs", "lost", "doubled",
		"stuck", "spurious", "wrong", "p50 s", "p99 s")
	ok := true
	for _, r := range results {
		fmt.Printf("%-34s%9d%9d%6d%6d%8d%6d%9d%6d%8.1f%8.1f\n", r.Name, r.Accepted, r.Finished, r.Jobs, r.of(lost),
			r.of(doubled), r.of(stuck), r.of(spurious), r.of(wrong), r.P50, r.P99)
		ok = ok && len(r.Violations) == 0 && r.P99 < maxSettle.Seconds() && r.Accepted > 0
	}
	for _, r := range results {
		fmt.Printf("%s: %d outputs compared, sources compared %v, %d events told by webhook, %d leftover objects, "+
			"%d sweeper repairs (%d of what was not lost on purpose); ends %v\n", r.Name[:1], r.Outputs, r.Sources,
			r.Webhooks, r.Leftovers, r.Repairs, r.Unexplained, r.Ends)
		for _, v := range r.Violations {
			fmt.Printf("%s %s: %s %s\n", r.Name[:1], strings.ToUpper(v.Kind), v.Video, v.What)
		}
	}
	if err := h.writeJSON(results, ok, hits, missed); err != nil {
		return err
	}
	if !ok || h.keep {
		fmt.Println("kept:", h.dir)
	} else if err := os.RemoveAll(h.dir); err != nil {
		return err
	}
	if !ok {
		return errViolated
	}
	return nil
}

func (h *harness) writeJSON(results []*result, ok bool, hits map[string]int, missed []string) error {
	if h.json == "" {
		return nil
	}
	doc, err := json.MarshalIndent(map[string]any{
		"ok": ok, "seed": h.seed, "minutes": h.minutes, "settings": settings, "phases": results,
		"faults": h.faults, "kill_points": hits, "kill_points_missed": missed,
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(h.json, append(doc, '\n'), 0o600)
}

// conclude turns what is still pending into violations, asks the API, and prints the events of each video
// with a broken promise.
func (p *phase) conclude(ctx context.Context, r *result) error {
	r.Violations = append(r.Violations, r.pending...)
	r.pending = nil
	if err := p.checkAPI(ctx, r); err != nil {
		return err
	}
	events, err := p.events(ctx)
	if err != nil {
		return err
	}
	p.checkSources(r, events)
	r.Repairs, r.Unexplained = p.countRepairs()
	if len(r.Violations) == 0 {
		return nil
	}
	told := map[string]bool{}
	for _, v := range r.Violations {
		if !told[v.Video] && len(told) < 20 {
			told[v.Video] = true
			p.tell(v, events[v.Video])
		}
	}
	return nil
}

// tell prints all that is known about a video.
func (p *phase) tell(v violation, events []pipeline.Event) {
	fmt.Printf("\n%s %s: %s\n", strings.ToUpper(v.Kind), v.Video, v.What)
	for _, known := range p.load.videos {
		if known.id == v.Video && v.Video != "" {
			fmt.Printf("  accepted %s as %s (%s), expected %s, cancel %s, delete %s, gone %t\n",
				known.accepted.UTC().Format(time.RFC3339Nano), known.key, known.pipeline, known.expect, known.cancel,
				known.delete, known.gone)
		}
	}
	for _, e := range events {
		data := string(e.Data)
		fmt.Printf("  %d %s %s %s %.400s\n", e.Sequence, e.Time.Format("15:04:05.000"), e.Type, e.Subject, data)
	}
	for _, d := range p.receiver.deliveries()[v.Video] {
		fmt.Printf("  webhook %s %s %s answered %d\n", d.at.UTC().Format("15:04:05.000"), d.kind, d.id, d.answer)
	}
}

// countRepairs counts the repairs of the sweeper in the logs, and those of things that no fault lost: there,
// a step came later than the sweeper, or never.
func (p *phase) countRepairs() (repairs, unexplained int) {
	lost := map[string]bool{}
	var repaired []string
	for _, u := range p.units() {
		log, err := os.ReadFile(filepath.Join(p.dir, "logs", u.name+".log"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(log)) {
			job := logField(line, "video") + "/" + logField(line, "job")
			switch {
			case strings.Contains(line, "chaos: a task is lost"):
				lost[job], lost[logField(line, "video")+"/"] = true, true
			case strings.Contains(line, "the sweeper repaired"):
				repaired = append(repaired, job)
			}
		}
	}
	for _, job := range repaired {
		if !lost[job] {
			unexplained++
			p.sayf("the sweeper repaired %s, which nobody had lost on purpose", job)
		}
	}
	return len(repaired), unexplained
}

// logField returns a field of a line of a log.
func logField(line, name string) string {
	_, rest, _ := strings.Cut(line, " "+name+"=")
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return strings.Trim(value, `"`)
}
