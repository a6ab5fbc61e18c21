package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"

	"github.com/reelmill/reelmill/pipeline/pipelinetest"
)

// TestUploadResumes kills the server while it receives an upload by tus, at random offsets, and starts it again:
// the client goes on where the server says, and the source of the video has every byte once. With TEST_SWEEP,
// it is killed more often.
func TestUploadResumes(t *testing.T) {
	for _, store := range []string{"disk", "s3"} {
		t.Run(store, func(t *testing.T) {
			var args []string
			if store == "s3" {
				args = []string{"--store", bucket(t)}
			}
			uploadResumes(t, args)
		})
	}
}

func uploadResumes(t *testing.T, args []string) {
	kills := 4
	if pipelinetest.Whole() {
		kills = 20
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	body := make([]byte, 24<<20)
	_, err := io.ReadFull(rand.NewChaCha8([32]byte{byte(seed)}), body)
	check(t, err)
	data := t.TempDir()
	p := startServe(t, binary, data, args...)
	upload := createUpload(t, p, len(body))
	for range kills {
		from := upload.offset(t, p)
		rest := &killing{r: bytes.NewReader(body[from:]), left: random.IntN(len(body) - from), p: p}
		if _, err := upload.send(t, p, from, rest); err == nil {
			t.Fatal("a killed server answered")
		}
		p = startServe(t, binary, data, args...)
		t.Logf("of %d bytes from %d, %d are kept", rest.sent, from, upload.offset(t, p)-from)
	}
	from := upload.offset(t, p)
	status, err := upload.send(t, p, from, bytes.NewReader(body[from:]))
	check(t, err)
	if status != http.StatusNoContent || upload.offset(t, p) != len(body) {
		t.Errorf("the last piece: %d", status)
	}
	view, err := p.client().Video(t.Context(), upload.Video)
	check(t, err)
	if sum := sha256.Sum256(body); view.SHA256 != hex.EncodeToString(sum[:]) || view.Size != int64(len(body)) {
		t.Errorf("the source has %d bytes, SHA-256 %s", view.Size, view.SHA256)
	}
}

// tusUpload is an upload that the tests send by tus.
type tusUpload struct {
	Video string `json:"video_id"`
	Path  string `json:"url"`
}

func createUpload(t *testing.T, p *process, size int) (u tusUpload) {
	t.Helper()
	order := fmt.Sprintf(`{"filename": "noise.mp4", "size": %d}`, size)
	resp, err := http.Post(p.url+"/v1/uploads", "application/json", bytes.NewReader([]byte(order)))
	check(t, err)
	defer resp.Body.Close()
	check(t, json.NewDecoder(resp.Body).Decode(&u))
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("create: %s", resp.Status)
	}
	return u
}

// offset returns how many bytes the server keeps.
func (u tusUpload) offset(t *testing.T, p *process) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, p.url+u.Path, nil)
	check(t, err)
	req.Header.Set("Tus-Resumable", "1.0.0")
	resp, err := http.DefaultClient.Do(req)
	check(t, err)
	resp.Body.Close()
	n, err := strconv.Atoi(resp.Header.Get("Upload-Offset"))
	if err != nil {
		t.Fatalf("HEAD: %s, %v", resp.Status, err)
	}
	return n
}

// send sends bytes from an offset on, and returns the status of the answer.
func (u tusUpload) send(t *testing.T, p *process, from int, body io.Reader) (int, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, p.url+u.Path, body)
	check(t, err)
	req.Header.Set("Tus-Resumable", "1.0.0")
	req.Header.Set("Upload-Offset", strconv.Itoa(from))
	req.Header.Set("Content-Type", "application/offset+octet-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// killing kills the server after some bytes, and then breaks off.
type killing struct {
	r          io.Reader
	left, sent int
	p          *process
}

// Read implements io.Reader.
func (k *killing) Read(b []byte) (int, error) {
	if k.left == 0 {
		k.p.kill()
		return 0, errors.New("the server is killed")
	}
	n, err := k.r.Read(b[:min(len(b), k.left)])
	k.left, k.sent = k.left-n, k.sent+n
	return n, err
}
