package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/workers/workertest"
)

// TestCurlLinesOfReadme runs every curl line of README.md, in order, against the program with the configuration
// that README.md shows. A line takes ID and CONTENT_URL from the answers to the lines before, as a reader does.
func TestCurlLinesOfReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	check(t, err)
	blocks := regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```").FindAllSubmatch(readme, -1)
	dir := t.TempDir()
	var lines []string
	for _, b := range blocks {
		if strings.Contains(string(b[2]), "\npipelines:\n") {
			check(t, os.WriteFile(filepath.Join(dir, "config.yaml"), b[2], 0o600))
		}
		lines = append(lines, curlLines(string(b[2]))...)
	}
	if len(lines) < 12 || strings.Count(string(readme), "curl -") > strings.Count(strings.Join(lines, "\n"), "curl -") {
		t.Errorf("README.md has further curl lines than these:\n%s", strings.Join(lines, "\n"))
	}
	clip := workertest.Clip(t, "film.mp4", "-f", "lavfi", "-i", "testsrc2=size=192x108:rate=10", "-t", "1",
		"-c:v", "libx264", "-preset", "ultrafast")
	check(t, os.Rename(clip, filepath.Join(dir, "film.mp4")))
	// Then curl prints the body and fails when the answer is an error.
	check(t, os.WriteFile(filepath.Join(dir, ".curlrc"), []byte("fail-with-body\nsilent\nshow-error\n"), 0o600))
	p := startServe(t, binary, filepath.Join(dir, "data"), "--config", filepath.Join(dir, "config.yaml"))
	variables := map[string]string{"CURL_HOME": dir}
	for _, line := range lines {
		runCurl(t, dir, strings.ReplaceAll(line, "http://127.0.0.1:8080", p.url), variables)
	}
}

// curlLines returns the lines of a block that set a variable for curl or run it; also those in a comment.
func curlLines(block string) (lines []string) {
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", "")) {
		at := strings.Index(line, "curl ")
		switch {
		case strings.HasPrefix(line, "S="):
			lines = append(lines, line)
		case at >= 0:
			lines = append(lines, line[at:])
		}
	}
	return lines
}

// runCurl runs a line in a shell with variables, and takes over what the answer has for the next lines.
func runCurl(t *testing.T, dir, line string, variables map[string]string) {
	t.Helper()
	if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(line, "curl") {
		variables[name] = value
		return
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-o", "errexit", "-o", "nounset", "-c", line)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range variables {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if strings.Contains(line, "/events/stream") {
		firstByte(t, cmd)
		return
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	var answer struct {
		ID         string
		ContentURL string `json:"content_url"`
	}
	if json.Unmarshal(out, &answer) != nil {
		return // a playlist, events, metrics
	}
	if strings.HasPrefix(answer.ID, "vid_") {
		variables["ID"] = answer.ID
	}
	if answer.ContentURL != "" {
		variables["CONTENT_URL"] = answer.ContentURL
	}
}

// firstByte runs a command that never ends by itself, such as a stream, until it prints something.
func firstByte(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	check(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &problem)
	}
}
