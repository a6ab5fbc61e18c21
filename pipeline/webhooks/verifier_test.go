package webhooks_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/webhooks"
)

// TestJavaScriptVerifier: the JavaScript reference verifier accepts deliveries with one and with two signatures,
// whatever letters are in the body, and refuses one that was changed.
func TestJavaScriptVerifier(t *testing.T) {
	r, v := newRig(t, webhooks.SenderConfig{}), newReceiver(t, nil)
	e := r.endpoint(v.URL, "*")
	var lines bytes.Buffer
	n := 0
	note := func(q request, secret string) {
		headers := map[string]string{}
		for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
			headers[name] = q.header.Get(name)
		}
		n++
		must(t, json.NewEncoder(&lines).Encode(map[string]any{"secret": secret, "headers": headers, "body": string(q.raw)}))
	}
	old := e.Secrets[0].Value
	for i, title := range []string{"Film", "Zürich <b> & \u2028 \U0001F3AC", ""} {
		video := "vid_" + strconv.Itoa(i)
		r.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, video), pipeline.Upload{Title: title})
		note(pipelinetest.Receive(t, "a delivery", v.got), old)
	}
	rotated, err := r.desk.Rotate(t.Context(), project, e.ID, time.Hour)
	must(t, err)
	r.uploaded("vid_both")
	both := pipelinetest.Receive(t, "a delivery with two signatures", v.got)
	note(both, old)
	note(both, rotated.Secrets[0].Value)
	if out, err := verifyInNode(t, lines.String()); err != nil || out != strconv.Itoa(n) {
		t.Errorf("it verified %s of %d: %v", out, n, err)
	}
	changed := strings.Replace(lines.String(), "Film", "Fi1m", 1)
	if out, err := verifyInNode(t, changed); err == nil {
		t.Errorf("it accepts a body that was changed: %s", out)
	}
}

// verifyInNode runs the verifier, and returns how many deliveries it accepted.
func verifyInNode(t *testing.T, lines string) (string, error) {
	t.Helper()
	dir := filepath.Join("testdata", "verifier")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err != nil {
		t.Fatal("the verifier is not installed; run .ci/install")
	}
	cmd := exec.CommandContext(pipelinetest.Context(t), "node", "verify.js")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(lines)
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}
