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
	"syscall"
)

// runMutations tries the mutations whose names contain one of parts, or all, in the folder of the module. It
// prints which test noticed each. It fails when no test did, or when a mutation no longer fits the code.
func runMutations(ctx context.Context, parts []string) error {
	mutations := mutationsOf(parts)
	if len(mutations) == 0 {
		return fmt.Errorf("no mutation has %q in its name", parts)
	}
	dir, err := os.MkdirTemp("", "reelmill-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := greenBefore(ctx, mutations); err != nil {
		return err
	}
	survived := 0
	fmt.Printf("%-66s| %s\n", "mutation", "test that went red")
	for i, m := range mutations {
		overlay, err := m.overlay(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return fmt.Errorf("mutation %q: %w", m.name, err)
		}
		red, err := testsGoRed(ctx, overlay, m.in)
		if err != nil {
			return fmt.Errorf("mutation %q: %w", m.name, err)
		}
		if red == "" {
			red = "NONE: nobody would notice"
			survived++
		}
		fmt.Printf("%-66s| %s\n", m.name, red)
	}
	if survived > 0 {
		return fmt.Errorf("%d of %d mutations were not noticed", survived, len(mutations))
	}
	return nil
}

// mutationsOf returns the mutations whose names contain one of parts; all without parts.
func mutationsOf(parts []string) (chosen []mutation) {
	for _, m := range mutations {
		has := func(part string) bool { return strings.Contains(m.name, part) }
		if len(parts) == 0 || slices.ContainsFunc(parts, has) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// greenBefore checks that the tests pass without a mutation.
func greenBefore(ctx context.Context, mutations []mutation) error {
	done := map[suite]bool{}
	for _, m := range mutations {
		if done[m.in] {
			continue
		}
		done[m.in] = true
		red, err := testsGoRed(ctx, "", m.in)
		if err != nil {
			return err
		}
		if red != "" {
			return fmt.Errorf("%s of %s fails without any mutation: mend that first", red, m.in.pkg)
		}
	}
	return nil
}

// overlay writes the changed file into dir, and an overlay with which `go build` uses it.
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

// testsGoRed runs tests and returns the first that failed, or nothing. It is an error if there are no tests.
func testsGoRed(ctx context.Context, overlay string, tests suite) (string, error) {
	args := []string{"test", "-count=1", "-failfast", "-timeout=10m", "-run=" + tests.run}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, tests.pkg)...)
	// Many mutations make a test hang. A case that notices one may not be in the sample of its sweep.
	cmd.Env = append(os.Environ(), "TEST_PATIENCE=1m", "TEST_SWEEP=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // kills the tests too
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("[no tests to run]")):
		return "", fmt.Errorf("%s has no test %s", tests.pkg, tests.run)
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

// firstRed returns the first test that failed or hung, by the output of `go test`.
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
