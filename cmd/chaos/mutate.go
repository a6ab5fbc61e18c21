package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// mutation takes one safeguard out of the code: old, which must be there exactly once, becomes new.
type mutation struct {
	name     string
	file     string
	old, new string
	tests    []string // packages that must notice
}

// mutations are the safeguards that the promises of RELIABILITY.md rest on.
var mutations = []mutation{
	{
		"token: every swap of a job wins", "workers/outcome.go",
		"	e.Sequence, err = l.Log.Append(ctx, e, after)\n",
		"	if now, lastErr := l.last(ctx, task); lastErr == nil {\n\t\tafter = now.Last.Sequence\n\t}\n" +
			"	e.Sequence, err = l.Log.Append(ctx, e, after)\n",
		[]string{"./workers"},
	},
	{
		"token: a running attempt never notices that it is lost", "workers/watch.go",
		"	case last.Last.Sequence != token:\n", "	case last.Last.Sequence != token && false:\n",
		[]string{"./workers"},
	},
	{
		"cause: a stale duplicate may begin", "workers/rule.go",
		"		if last.Data.Owner != me {\n", "		if last.Data.Owner != me && false {\n",
		[]string{"./workers"},
	},
	{
		"gate: outputs are not looked at", "workers/run.go",
		"		if !ok || size != o.Size || size == 0 || o.Key != prefix+o.Path {\n",
		"		if false && (!ok || size != o.Size || size == 0 || o.Key != prefix+o.Path) {\n",
		[]string{"./workers"},
	},
	{
		"sweeper: a lost task is not enqueued", "pipeline/sweep.go",
		"		if !queued {\n", "		if !queued && false {\n",
		[]string{"./pipeline"},
	},
	{
		"sweeper: a missed event is not acted on", "pipeline/sweep.go",
		"	if err := s.Coordinator.Evaluate(ctx, ref.Project, ref.ID); err != nil {\n",
		"	if err := ctx.Err(); err != nil {\n",
		[]string{"./pipeline"},
	},
	{
		"log: what is gone counts as deleted", "pipeline/bus/extent.go",
		"	e.Lost, e.Untold = gone.Without(a.told), a.untold\n", "	e.Lost, e.Untold = nil, a.untold\n",
		[]string{"./pipeline/bus"},
	},
	{
		"read model: two projectors at once both win", "storage/catalog/apply.go",
		"	if n != 1 {\n", "	if n != 1 && false {\n",
		[]string{"./storage/catalog"},
	},
	{
		"read model: an event counts each time it comes", "storage/catalog/apply.go",
		"		case e.Sequence <= stored:\n", "		case e.Sequence <= stored && false:\n",
		[]string{"./storage/catalog"},
	},
}

// runMutations tests each mutation, in the folder of the module, and prints which test noticed it. It fails
// when none did, and loudly when a mutation does not fit the code any more.
func runMutations(ctx context.Context, _ []string) error {
	dir, err := os.MkdirTemp("", "reelmill-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var all []string
	for _, m := range mutations {
		all = append(all, m.tests...)
	}
	slices.Sort(all)
	red, err := testsGoRed(ctx, "", slices.Compact(all))
	if err != nil {
		return err
	}
	if red != "" {
		return fmt.Errorf("%s is red without any mutation: mend that first", red)
	}
	survived := 0
	fmt.Printf("%-58s| %s\n", "mutation", "test that went red")
	for i, m := range mutations {
		overlay, err := m.overlay(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("mutation %q: %w", m.name, err)
		}
		red, err := testsGoRed(ctx, overlay, m.tests)
		if err != nil {
			return fmt.Errorf("mutation %q: %w", m.name, err)
		}
		if red == "" {
			red = "NONE: nobody would notice"
			survived++
		}
		fmt.Printf("%-58s| %s\n", m.name, red)
	}
	if survived > 0 {
		return fmt.Errorf("%d of %d mutations were not noticed", survived, len(mutations))
	}
	return nil
}

// overlay writes the changed file and the overlay of `go build` that puts it in its place, into dir.
func (m mutation) overlay(dir string) (string, error) {
	source, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return "", fmt.Errorf("%s has %d times what is to be replaced, want 1: %q", m.file, n, m.old)
	}
	abs, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	doc, err := json.Marshal(map[string]any{"Replace": map[string]string{abs: changed}})
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, errors.Join(os.WriteFile(overlay, doc, 0o600),
		os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600))
}

// testsGoRed runs the tests of the packages and returns the first that went red; nothing when none did.
func testsGoRed(ctx context.Context, overlay string, packages []string) (string, error) {
	args := []string{"test", "-count=1", "-failfast", "-timeout=10m"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Env = append(os.Environ(), "TEST_PATIENCE=1m") // many mutations make a test hang
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return "", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return "", fmt.Errorf("it does not compile:\n%s", out)
	}
	if red := firstRed(out); red != "" {
		return red, nil
	}
	return "", fmt.Errorf("no test is named: %w\n%s", err, out)
}

// firstRed returns the first test that `go test` says failed, or hung.
func firstRed(out []byte) string {
	running := false
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		red, failed := strings.CutPrefix(line, "--- FAIL: ")
		why, panicked := strings.CutPrefix(line, "panic: ")
		switch {
		case failed:
			return red
		case running:
			return line + " hung"
		case panicked && !strings.HasPrefix(why, "test timed out"):
			return "panic: " + why
		}
		running = line == "running tests:"
	}
	return ""
}
