package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/pipeline/secret"
	"github.com/reelmill/reelmill/storage"
	"github.com/reelmill/reelmill/storage/s3"
	"github.com/reelmill/reelmill/storage/s3/s3test"
)

// film returns n bytes.
func film(n int) []byte {
	b, _ := io.ReadAll(io.LimitReader(rand.NewChaCha8([32]byte{7}), int64(n))) // never fails
	return b
}

// mustResume sends the rest of body, finishes the key and checks the object.
func mustResume(t *testing.T, s *s3.Store, key string, body []byte) {
	t.Helper()
	ctx := context.Background()
	kept, err := s.Kept(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		if _, err = s.Stat(ctx, key); errors.Is(err, storage.ErrNotFound) {
			err = s.Begin(ctx, key, int64(len(body)))
		} else {
			kept = int64(len(body)) // it is finished
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if kept < int64(len(body)) {
		if kept, err = s.Append(ctx, key, kept, bytes.NewReader(body[kept:]), nil); err != nil {
			t.Fatalf("append: %d, %v", kept, err)
		}
	}
	info, err := s.Finish(ctx, key)
	sum := sha256.Sum256(body)
	if err != nil || info.SHA256 != hex.EncodeToString(sum[:]) || info.Size != int64(len(body)) {
		t.Fatalf("finish: %+v, %v", info, err)
	}
	if got, err := get(s, key); err != nil || got != string(body) {
		t.Errorf("the object has %d other bytes, %v", len(got), err)
	}
}

const childEnv = "REELMILL_S3_CHILD"

// childTask is what the child process does: it sends a film of two parts in two appends, finishes it, and
// dies at a request.
type childTask struct {
	Config         s3.Config
	Access, Secret string
	Key            string
	KillAt         int  // number of the request
	After          bool // the server has done it, and the answer is lost
}

const (
	childFilm  = 5<<20 + 300_000
	childFirst = 200_000
)

// child runs a task and returns the exit code.
func child(task string) int {
	var c childTask
	if err := json.Unmarshal([]byte(task), &c); err != nil {
		return 2
	}
	c.Config.AccessKey, c.Config.SecretKey = secret.New(c.Access), secret.New(c.Secret)
	c.Config.SessionToken = secret.Text{}
	seen := 0
	c.Config.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		seen++
		if seen == c.KillAt && !c.After {
			killSelf()
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if seen == c.KillAt {
			killSelf()
		}
		return response, err
	})
	ctx, body := context.Background(), film(childFilm)
	s, err := s3.Open(ctx, c.Config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	err = s.Begin(ctx, c.Key, childFilm)
	if err == nil {
		_, err = s.Append(ctx, c.Key, 0, bytes.NewReader(body[:childFirst]), nil)
	}
	if err == nil {
		_, err = s.Append(ctx, c.Key, childFirst, bytes.NewReader(body[childFirst:]), nil)
	}
	if err == nil {
		_, err = s.Finish(ctx, c.Key)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	return 0
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestKilled kills a process before and after its requests (with TEST_SWEEP, each of them), until it lives to its
// end. Another then
// goes on, to the byte. What the kill left behind is reclaimed.
func TestKilled(t *testing.T) {
	config := small(s3test.StartGateway(t))
	s := open(t, config)
	body, ended := film(childFilm), false
	step := 5 // so each run takes a sample
	if pipelinetest.Whole() {
		step = 1
	}
	for at := 1; !ended; at += step {
		for _, after := range []bool{false, true} {
			task := childTask{
				Config: config, Access: config.AccessKey.Reveal(), Secret: config.SecretKey.Reveal(),
				Key: fmt.Sprintf("v/%d-%t.bin", at, after), KillAt: at, After: after,
			}
			b, err := json.Marshal(task)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childEnv+"="+string(b))
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code > 0 {
				t.Fatalf("request %d: exit code %d: %s", at, code, out)
			}
			ended = err == nil
			mustResume(t, s, task.Key, body)
			if err := s.Delete(context.Background(), task.Key); err != nil {
				t.Fatal(err)
			}
		}
		if at > 100 {
			t.Fatal("the process never ends")
		}
		t.Logf("killed at request %d", at)
	}
	if _, err := s.Reclaim(context.Background(), 0); err != nil {
		t.Error(err)
	}
	if n, err := s.Reclaim(context.Background(), 0); n != 0 || err != nil {
		t.Errorf("%d are left, %v", n, err)
	}
}

// TestReclaimSparesUnfinished reclaims everything while an object is unfinished: it needs its upload and its
// last bytes.
func TestReclaimSparesUnfinished(t *testing.T) {
	s := open(t, small(s3test.StartGateway(t)))
	ctx, body := context.Background(), film(childFilm)
	if err := s.Begin(ctx, "v/x.bin", childFilm); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, "v/x.bin", 0, bytes.NewReader(body[:childFilm-9]), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Reclaim(ctx, 0); n != 0 || err != nil {
		t.Errorf("reclaim: %d, %v", n, err)
	}
	mustResume(t, s, "v/x.bin", body)
}

// TestSecondProcessTakesOver lets another process append while the first waits for its client. The first one
// must notice, and nothing of it may count.
func TestSecondProcessTakesOver(t *testing.T) {
	config := small(s3test.StartGateway(t))
	first, second := open(t, config), open(t, config)
	ctx, body := context.Background(), film(2*childFilm)
	if err := first.Begin(ctx, "v/x.bin", int64(len(body))); err != nil {
		t.Fatal(err)
	}
	// The first process has read a little when the second comes, and then fills a part.
	late := false
	r := readerFunc(func(p []byte) (int, error) {
		if !late {
			late = true
			return copy(p, "!"), nil
		}
		kept, err := second.Append(ctx, "v/x.bin", 0, bytes.NewReader(body[:childFilm]), nil)
		if err != nil || kept != childFilm {
			t.Errorf("the second process: %d, %v", kept, err)
		}
		return len(p), io.EOF
	})
	_, err := first.Append(ctx, "v/x.bin", 0, io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("?"), 1000)), r), nil)
	if !errors.Is(err, storage.ErrBusy) && !errors.Is(err, storage.ErrOffset) {
		t.Errorf("the first process: %v, want ErrBusy", err)
	}
	mustResume(t, second, "v/x.bin", body)
}

// TestAnswerOfFinishLost loses the answer of the completion: the server does not know the upload any more.
func TestAnswerOfFinishLost(t *testing.T) {
	s, w := openWire(t)
	body := film(childFilm)
	put(t, s, "v/x.bin", strings.Repeat("o", childFilm)) // an older object of the same size is not ours
	if err := s.Begin(context.Background(), "v/x.bin", childFilm); err != nil {
		t.Fatal(err)
	}
	lost := 0
	w.answer = func(r *http.Request) *http.Response {
		if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
			return nil
		}
		if lost++; lost > 1 {
			return refuse(http.StatusNotFound, minio.NoSuchUpload)
		}
		response, err := w.Transport.RoundTrip(r)
		if err == nil {
			err = response.Body.Close()
		}
		if err != nil {
			t.Error(err)
		}
		return refuse(http.StatusServiceUnavailable, "SlowDown")
	}
	mustResume(t, s, "v/x.bin", body)
	if lost < 2 {
		t.Errorf("completed %d times", lost)
	}
}

// TestUploadAbortedByOthers checks that an older object of the same size is not taken for the lost one.
func TestUploadAbortedByOthers(t *testing.T) {
	s, w := openWire(t)
	ctx, body := context.Background(), film(childFilm)
	put(t, s, "v/x.bin", strings.Repeat("o", childFilm))
	if err := s.Begin(ctx, "v/x.bin", childFilm); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, "v/x.bin", 0, bytes.NewReader(body), nil); err != nil {
		t.Fatal(err)
	}
	w.answer = func(r *http.Request) *http.Response {
		if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
			return refuse(http.StatusNotFound, minio.NoSuchUpload)
		}
		return nil
	}
	if info, err := s.Finish(ctx, "v/x.bin"); err == nil || !strings.Contains(err.Error(), "send it anew") {
		t.Errorf("finish: %+v, %v", info, err)
	}
}

// killSelf ends this process as SIGKILL does, on any system.
func killSelf() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}
