package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wide returns a PNG whose header says w by h pixels, and has little else.
func wide(t *testing.T, w, h uint32) string {
	t.Helper()
	var b bytes.Buffer
	check(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))))
	for i, side := range []uint32{w, h} {
		for byte4 := range 4 {
			b.Bytes()[16+4*i+byte4] = byte(side >> (24 - 8*byte4))
		}
	}
	return b.String()
}

// TestWatermarksThatNobodyCanUse: an upload with a mark that its step would refuse gets 422 at once, which
// says why, and leaves no video. An empty step that the upload completes is fine.
func TestWatermarksThatNobodyCanUse(t *testing.T) {
	config := filepath.Join(t.TempDir(), "reelmill.yaml")
	check(t, os.WriteFile(config, []byte("pipelines:\n  - name: marked\n    steps:\n"+
		"      - {worker: thumbnail}\n      - {worker: watermark, with: {}}\n"), 0o600))
	p := startServe(t, binary, t.TempDir(), "--config", config)
	film := clip(t, "a.mp4", 1, "64x64", 5)
	video, err := os.ReadFile(film)
	check(t, err)
	post := func(parts ...[2]string) (int, string) { // a name that begins with @ is that of a file
		t.Helper()
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		for _, part := range append(parts, [2]string{"@file", string(video)}) {
			name, isFile := strings.CutPrefix(part[0], "@")
			create := form.CreateFormField
			if isFile {
				create = func(name string) (io.Writer, error) { return form.CreateFormFile(name, "x") }
			}
			w, err := create(name)
			check(t, err)
			_, err = io.WriteString(w, part[1])
			check(t, err)
		}
		check(t, form.Close())
		answer, err := http.Post(p.url+"/v1/videos", form.FormDataContentType(), &body)
		check(t, err)
		defer answer.Body.Close()
		var said struct{ Detail string }
		check(t, json.NewDecoder(answer.Body).Decode(&said))
		return answer.StatusCode, said.Detail
	}
	good := wide(t, 1, 1)
	for _, c := range []struct {
		parts [][2]string
		want  string // the detail; empty: the video is accepted
	}{
		{[][2]string{{"watermark", "{}"}}, "the watermark has neither an image nor a text; give one"},
		{[][2]string{{"watermark", " { } "}}, "the watermark has neither an image nor a text; give one"},
		{[][2]string{{"watermark", `{"opacity":0.5}`}}, "the watermark has neither an image nor a text; give one"},
		{[][2]string{{"pipeline", "marked"}, {"watermark", "{}"}}, "the watermark has neither an image nor a text; give one"},
		{[][2]string{{"watermark", `{"text":"a"}`}, {"@watermark", good}}, "the watermark has both an image and a text; give one"},
		{[][2]string{{"watermark", ""}}, "The field watermark is empty."},
		{[][2]string{{"watermark", " \n"}}, "The field watermark is empty."},
		{[][2]string{{"watermark", "null"}}, "The text in watermark is not text:... or a JSON object of parameters."},
		{[][2]string{{"watermark", "[]"}}, "The text in watermark is not text:... or a JSON object of parameters."},
		{[][2]string{{"watermark", "text:日本"}}, "text: the font has no letter '日' (U+65E5)"},
		{[][2]string{{"@watermark", wide(t, 12000, 10)}}, "The watermark image is refused: 12000x10 pixels; each side may have at most 8192."},
		{[][2]string{{"@watermark", wide(t, 1, 40000000)}}, "The watermark image is refused: 1x40000000 pixels; each side may have at most 8192."},
		{[][2]string{{"@watermark", good[:50]}}, "The watermark image is refused: damaged: the file ends too early."},
		{[][2]string{{"@watermark", good}, {"watermark", "{}"}}, ""},
		{[][2]string{{"pipeline", "marked"}, {"@watermark", good}}, ""},
		{[][2]string{{"pipeline", "marked"}, {"watermark", "text:a"}}, ""},
	} {
		want := http.StatusUnprocessableEntity
		if c.want == "" {
			want = http.StatusCreated
		}
		if status, detail := post(c.parts...); status != want || detail != c.want {
			t.Errorf("%.40q: %d %q, want %d %q", c.parts, status, detail, want, c.want)
		}
	}
	logo := filepath.Join(t.TempDir(), "logo.png")
	check(t, os.WriteFile(logo, []byte(good), 0o600))
	t.Setenv("REELMILL_SERVER", p.url)
	if said := command(t, "upload", film, "--watermark", logo, "--wait", "ready"); !strings.Contains(said, "/watermarked.mp4\n") {
		t.Errorf("the program marked no video: %s", said)
	}
	var videos struct{ Data []json.RawMessage }
	check(t, json.Unmarshal(get(t, p.url+"/v1/videos"), &videos))
	if len(videos.Data) != 4 {
		t.Errorf("%d videos, want those that were accepted", len(videos.Data))
	}
}
