package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// document is the file of results. The simulation reads its costs.
type document struct {
	Date     time.Time          `json:"date"`
	Machine  machine            `json:"machine"`
	Versions map[string]string  `json:"versions"`
	Settings settings           `json:"settings"`
	Rows     []row              `json:"rows"`
	Runs     []outcome          `json:"runs"`
	Peaks    map[string]peaks   `json:"peaks,omitempty"` // by seconds of the clip
	Costs    *costs             `json:"costs,omitempty"`
	Tried    map[string]float64 `json:"calibration_of_a,omitempty"` // seconds by threads
	Threads  int                `json:"threads_of_a"`               // 0: auto
	Warnings []string           `json:"warnings"`
	// Disturbed is how many of Timed runs other programs disturbed; Others is how many cores these kept busy at
	// most.
	Disturbed int     `json:"disturbed_runs"`
	Timed     int     `json:"timed_runs"`
	Others    float64 `json:"others_cores"`
}

// settings are the flags that change the results.
type settings struct {
	Repeat int     `json:"repeat"`
	Long   int     `json:"long"`
	Clip   string  `json:"clip,omitempty"`
	Only   string  `json:"only,omitempty"`
	Scale  float64 `json:"scale"`
	Height int     `json:"height"`
}

// report prints the table and writes the file.
func (b *bench) report(w io.Writer) error {
	fmt.Fprintf(w, "\n%s\n", b.machine)
	var words []string
	for _, name := range sortedKeys(b.versions) {
		words = append(words, name+" "+b.versions[name])
	}
	fmt.Fprintln(w, strings.Join(words, ", "))
	pictures := "made pictures"
	if b.clip != "" {
		pictures = "pictures of " + filepath.Base(b.clip)
	}
	fmt.Fprintf(w, "%d runs, %d of clips of 5 minutes and more; %s, %dp", b.repeat, b.long, pictures, b.height)
	if b.scale != 1 {
		fmt.Fprintf(w, "; LENGTHS SCALED BY %g: no result counts", b.scale)
	}
	if b.tried != nil {
		fmt.Fprintf(w, "; threads of A: %d, of %v (0 is auto)", b.threads, b.tried)
	}
	fmt.Fprintf(w, "\n\n%s", table(b.rows))
	for _, warning := range b.warnings {
		fmt.Fprintln(w, "WARNING:", warning)
	}
	if b.disturbed > 0 {
		fmt.Fprintf(w, "WARNING: others kept more than %g cores busy during %d of %d runs, %.2f at most\n", quiet,
			b.disturbed, b.timed, b.others)
	}
	return b.writeJSON()
}

func (b *bench) writeJSON() error {
	if b.json == "" {
		return nil
	}
	doc, err := json.MarshalIndent(document{
		Date: b.began, Machine: b.machine, Versions: b.versions,
		Settings: settings{b.repeat, b.long, b.clip, b.only, b.scale, b.height},
		Rows:     b.rows, Runs: b.outcomes, Peaks: b.peaks, Costs: b.costs, Tried: b.tried, Threads: b.threads,
		Warnings: append([]string{}, b.warnings...), Disturbed: b.disturbed, Timed: b.timed, Others: b.others,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.json), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(b.json, append(doc, '\n'), 0o644); err != nil {
		return err
	}
	b.say("written: %s", b.json)
	return nil
}

// table aligns rows in columns.
func table(rows []row) string {
	var s strings.Builder
	t := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "measurement\tmedian\tmin\tmax\tunit\taim\tverdict\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, number(r.Median), number(r.Min), number(r.Max),
			r.Unit, r.Aim, r.Verdict, r.Note)
	}
	_ = t.Flush() // writing to a strings.Builder cannot fail
	return s.String()
}

// number formats a value with three significant digits.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1 || v == 0:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
