package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/pipelinetest"
	"github.com/reelmill/reelmill/storage"
)

const png = "\x89PNG\r\n\x1a\nrest of it"

// uploadOf returns the data of video.uploaded.
func (e *env) uploadOf(video string) pipeline.Upload {
	e.t.Helper()
	last, err := e.Bus.Last(e.t.Context(), pipeline.UploadedSubject(project, video))
	must(e.t, err)
	var up pipeline.Upload
	must(e.t, last[0].Decode(&up))
	return up
}

func TestUpload(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.PublicURL = "https://v.example/" })
	fields := []part{
		field("pipeline", "default"), field("metadata", `{"title":"Kätzchen","x":""}`), field("passthrough", "abc"),
		field("webhook_url", "https://hooks.example/x"),
		{"watermark", "logo.exe", strings.NewReader(png)},
		field("watermark", `{"position":"bottom-right","opacity":0.8}`),
	}
	for name, parts := range map[string][]part{
		"fields first": append(fields[:len(fields):len(fields)], file(`..\evil/ca%22t.MP4`, "meow")),
		"file first":   append([]part{file(`..\evil/ca%22t.MP4`, "meow")}, fields...),
	} {
		for i := range parts {
			parts[i].body.(*strings.Reader).Seek(0, io.SeekStart)
		}
		resp, raw := e.post(parts, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if resp.StatusCode != 201 {
			t.Fatalf("%s: %s: %s", name, resp.Status, raw)
		}
		v := decode[pipeline.VideoView](t, raw)
		if got, want := resp.Header.Get("Location"), "https://v.example/v1/videos/"+v.ID; got != want {
			t.Errorf("Location %q, want %q", got, want)
		}
		sum := sha256.Sum256([]byte("meow"))
		if v.Status != "queued" || v.Size != 4 || v.SHA256 != hex.EncodeToString(sum[:]) || v.Passthrough != "abc" ||
			v.Metadata["title"] != "Kätzchen" || v.TraceID != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s: %+v", name, v)
		}
		if diff := cmp.Diff(v, read[pipeline.VideoView](e, "/v1/videos/"+v.ID)); diff != "" {
			t.Errorf("%s: reading one's own write: %s", name, diff)
		}
		up := e.uploadOf(v.ID)
		want := map[string]map[string]any{
			"watermark": {"image": "watermark", "position": "bottom-right", "opacity": 0.8},
		}
		if diff := cmp.Diff(want, up.Requested); diff != "" {
			t.Error(diff)
		}
		image := up.Assets["watermark"]
		if !strings.HasSuffix(image.Key, ".png") || image.ContentType != "image/png" || image.Size != int64(len(png)) {
			t.Errorf("%s: watermark %+v", name, image)
		}
		if up.Webhook == nil || up.Webhook.URL != "https://hooks.example/x" || up.Pipeline.Name != "default" {
			t.Errorf("%s: %+v", name, up)
		}
		rc, info, err := e.Store.Get(t.Context(), up.Source.Key, storage.Range{})
		must(t, err)
		body, err := io.ReadAll(rc)
		must(t, err)
		rc.Close()
		if string(body) != "meow" || info.ContentType != "video/mp4" || !strings.HasPrefix(up.Source.Key, "videos/"+v.ID) {
			t.Errorf("%s: source %s %q %+v", name, up.Source.Key, body, info)
		}
		if strings.ContainsAny(up.Source.Filename, `/\`) || !strings.HasSuffix(up.Source.Filename, "t.MP4") {
			t.Errorf("%s: filename %q", name, up.Source.Filename)
		}
	}
}

func TestUploadDefaults(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.WebhookDefault = true })
	v := e.uploaded()
	up := e.uploadOf(v.ID)
	if up.Pipeline.Name != "default" || up.Requested != nil || up.Webhook == nil || up.Webhook.URL != "" {
		t.Errorf("%+v", up)
	}
	if len(v.Metadata) != 0 || v.Filename != "cat.mp4" || !strings.HasPrefix(v.ID, "vid_") {
		t.Errorf("%+v", v)
	}
}

func TestUploadTextWatermark(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.post([]part{field("watermark", "text:© cat"), file("c.webm", "meow")})
	if resp.StatusCode != 201 {
		t.Fatalf("%s", raw)
	}
	up := e.uploadOf(decode[pipeline.VideoView](t, raw).ID)
	if diff := cmp.Diff(map[string]map[string]any{"watermark": {"text": "© cat"}}, up.Requested); diff != "" {
		t.Error(diff)
	}
}

func TestUploadRefused(t *testing.T) {
	bare := pipeline.Pipeline{Name: "bare", Version: 1, Steps: []pipeline.Step{{Worker: "audio"}}}
	e := newEnv(t, func(c *Config) {
		c.Pipelines = map[string]pipeline.Pipeline{"default": pipeline.Default(), "bare": bare}
		c.Limits.MaxAsset = 64
		c.Limits.MaxMetadata = 128
		c.CheckWebhookURL = func(u string) error {
			if strings.Contains(u, "localhost") {
				return fmt.Errorf("%s is private", u)
			}
			return nil
		}
	})
	video := func() part { return file("cat.mp4", "meow") }
	for name, c := range map[string]struct {
		parts   []part
		want    code
		pointer string
	}{
		"no file":             {[]part{field("pipeline", "default")}, codeUploadFile, "/form/file"},
		"no part":             {nil, codeUploadFile, "/form/file"},
		"empty":               {[]part{file("cat.mp4", "")}, codeUploadEmpty, "/form/file"},
		"too large":           {[]part{file("cat.mp4", strings.Repeat("x", 1<<20+1))}, codeUploadTooLarge, "/form/file"},
		"pipeline before":     {[]part{field("pipeline", "x"), video()}, codePipelineUnknown, "/form/pipeline"},
		"pipeline after":      {[]part{video(), field("pipeline", "x")}, codePipelineUnknown, "/form/pipeline"},
		"unknown field":       {[]part{video(), field("piepline", "x")}, codeFieldUnknown, "/form/piepline"},
		"two files":           {[]part{video(), video()}, codeFieldRepeated, "/form/file"},
		"two fields":          {[]part{field("passthrough", "x"), field("passthrough", "x")}, codeFieldRepeated, "/form/passthrough"},
		"metadata list":       {[]part{video(), field("metadata", `["a"]`)}, codeMetadata, "/form/metadata"},
		"metadata number":     {[]part{video(), field("metadata", `{"a":1}`)}, codeMetadata, "/form/metadata"},
		"metadata null value": {[]part{video(), field("metadata", `{"a":null}`)}, codeMetadata, "/form/metadata"},
		"metadata null":       {[]part{video(), field("metadata", `null`)}, codeMetadata, "/form/metadata"},
		"metadata long": {
			[]part{video(), field("metadata", `{"a":"`+strings.Repeat("x", 128)+`"}`)}, codeFieldTooLarge, "/form/metadata",
		},
		"passthrough long": {
			[]part{video(), field("passthrough", strings.Repeat("x", 4<<10+1))}, codeFieldTooLarge, "/form/passthrough",
		},
		"not UTF-8":         {[]part{video(), field("passthrough", "\xff")}, codeInvalid, "/form/passthrough"},
		"watermark text":    {[]part{video(), field("watermark", "cat")}, "watermark_invalid", "/form/watermark"},
		"watermark empty":   {[]part{video(), field("watermark", "text: ")}, "watermark_invalid", "/form/watermark"},
		"watermark image":   {[]part{video(), field("watermark", `{"image":"x"}`)}, "watermark_invalid", "/form/watermark/image"},
		"watermark params":  {[]part{video(), field("watermark", `{"opacity":1}`)}, "watermark_invalid", "/form/watermark"},
		"watermark gif":     {[]part{video(), {"watermark", "a.png", strings.NewReader("GIF89a")}}, "watermark_invalid", "/form/watermark"},
		"watermark nothing": {[]part{video(), {"watermark", "a.png", strings.NewReader("")}}, "watermark_invalid", "/form/watermark"},
		"watermark long": {
			[]part{video(), {"watermark", "a.png", strings.NewReader(png + strings.Repeat("x", 64))}},
			codeFieldTooLarge, "/form/watermark",
		},
		"watermark nowhere": {
			[]part{field("pipeline", "bare"), field("watermark", "text:x"), video()}, "watermark_unsupported", "/form/watermark",
		},
		"webhook scheme":  {[]part{field("webhook_url", "ftp://x"), video()}, codeWebhookRefused, "/form/webhook_url"},
		"webhook private": {[]part{video(), field("webhook_url", "http://localhost/")}, codeWebhookRefused, "/form/webhook_url"},
		"many parts":      {slicesRepeat(part{"x", "", strings.NewReader("")}), codeFieldUnknown, "/form/x"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, raw := e.post(c.parts)
			p := wantProblem(t, resp, raw, c.want)
			if c.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != c.pointer || p.Errors[0].Code != string(c.want)) {
				t.Errorf("errors %+v, want pointer %s", p.Errors, c.pointer)
			}
			equal(t, "objects", e.objects())
		})
	}
	if l := read[list[pipeline.VideoView]](e, "/v1/videos"); len(l.Data) != 0 {
		t.Errorf("videos: %+v", l.Data)
	}
}

func slicesRepeat(p part) []part {
	parts := make([]part, 20)
	for i := range parts {
		parts[i] = p
	}
	return parts
}

func TestUploadPipelineUnknownListsKnown(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := e.post([]part{field("pipeline", "x")})
	wantProblem(t, resp, raw, codeUploadFile)
	resp, raw = e.post([]part{field("pipeline", "x"), file("a", "b")})
	if p := wantProblem(t, resp, raw, codePipelineUnknown); !strings.Contains(p.Detail, "default") {
		t.Error(p.Detail)
	}
}

// File names in every script come back as they were sent, without the characters that would mislead a reader.
func TestFileNamesAreKept(t *testing.T) {
	for _, name := range []string{
		"Screen Recording 2026-11-26 at 3.07.12\u202fPM.mov", "a\u00a0b\u2009c\u3000d.mp4",
		"\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.mp4", // ZWNJ
		"\U0001F468\u200d\U0001F469\u200d\U0001F467 \U0001F3D6\uFE0F.mp4",
		"\U0001F3F4\U000E0067\U000E0062\U000E0065\U000E006E\U000E0067\U000E007F.mp4", // the flag of England
		"cafe\u0301.mp4", "\u0928\u092e\u0938\u094d\u200d\u0924\u0947.mp4", "\u0601\u0661.mp4",
		"\U0001FAEF new.mp4", "\uF8FF mac.mp4", "  two  blanks .mp4", `100% of "it".mp4`, "co\u00adop.mp4",
	} {
		if got := cleanFilename(name); got != name {
			t.Errorf("%+q came back as %+q", name, got)
		}
	}
	for sent, want := range map[string]string{
		"the %22final%22 cut.mp4": `the "final" cut.mp4`, "a%0D%0Ab\x00\x1b\u0085.mp4": "ab.mp4",
		"gpj.\u202e4pm.mp4": "gpj.4pm.mp4", "\u2066a\u2069\u200e\u200f\u061c.mp4": "a.mp4", "\u2028\u2029": "upload",
		"\uFEFFa\uFFFD\xff\U0001FFFE.mp4": "a.mp4", `C:\clips\a.mp4`: "a.mp4", "../a.mp4": "a.mp4", "": "upload",
	} {
		if got := cleanFilename(unescaped.Replace(sent)); got != want {
			t.Errorf("%+q came back as %+q, want %+q", sent, got, want)
		}
	}
	e := newEnv(t, nil)
	sent := "at 3.07\u202fPM \u06cc\u200c\u062e \U0001F468\u200d\U0001F467.mp4"
	_, raw := e.post([]part{file(sent, "meow")})
	if got := decode[pipeline.VideoView](t, raw).Filename; got != sent {
		t.Errorf("%+q came back as %+q", sent, got)
	}
}

// announce sends the head of an upload and a part of its body, and returns the connection.
func (e *env) announce(length int, body string) net.Conn {
	e.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	must(e.t, err)
	e.t.Cleanup(func() { c.Close() })
	_, err = fmt.Fprintf(c, "POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"+
		"Content-Length: %d\r\n\r\n%s", length, body)
	must(e.t, err)
	return c
}

func answerOn(t *testing.T, c net.Conn) (*http.Response, []byte) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(pipelinetest.Left(t))))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	raw, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, raw
}

const (
	partHead = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n"
	badField = "--b\r\nContent-Disposition: form-data; name=\"pipeline\"\r\n\r\nnope\r\n"
)

// Mistakes before the file are answered before the file is sent.
func TestUploadRefusesEarly(t *testing.T) {
	e := newEnv(t, nil)
	resp, raw := answerOn(t, e.announce(1000, badField+partHead))
	wantProblem(t, resp, raw, codePipelineUnknown)
	resp, raw = answerOn(t, e.announce(1<<40, ""))
	wantProblem(t, resp, raw, codeUploadTooLarge)
}

func TestUploadHangUp(t *testing.T) {
	reading := make(chan struct{}, 1)
	fault := &storeFault{put: func(context.Context, string, io.Reader) error {
		reading <- struct{}{}
		return nil
	}}
	e := newEnv(t, func(c *Config) { fault.Store, c.Store = c.Store, fault })
	for _, body := range []string{
		partHead + "half of",
		partHead + "all of it\r\n--b\r\nContent-Disposition: form-data; name=\"passthrough\"\r\n\r\nab",
	} {
		c := e.announce(100_000, body)
		<-reading
		must(t, c.Close())
		<-e.served
		equal(t, "objects", e.objects())
	}
	if last, err := e.Bus.LastSequence(t.Context()); err != nil || last != 0 {
		t.Errorf("the log has %d events, %v", last, err)
	}
}

func TestUploadStalls(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Limits.UploadIdle = 50 * time.Millisecond })
	resp, raw := answerOn(t, e.announce(1000, partHead+"x"))
	wantProblem(t, resp, raw, codeUploadTimeout)
	equal(t, "objects", e.objects())
}

// TestFullDiskHasNumbers: the answers say how much is free and kept, or how much of the file there was room for.
func TestFullDiskHasNumbers(t *testing.T) {
	free := error(&pipeline.Error{
		Code: pipeline.CodeDiskFull, Detail: "storage is full: 3 MiB are free, and uploads leave 10 MiB",
	})
	fault := &storeFault{put: func(_ context.Context, _ string, r io.Reader) error {
		if _, err := io.CopyN(io.Discard, r, 2); err != nil {
			return err
		}
		return fmt.Errorf("put: %w", storage.ErrFull)
	}}
	e := newEnv(t, func(c *Config) {
		fault.Store, c.Store = c.Store, fault
		c.FreeSpace = func() error { return free }
	})
	for _, want := range []string{"3 MiB are free, and uploads leave 10 MiB.", "room for 2 bytes of the file"} {
		resp, raw := e.post([]part{file("a.mp4", "meow")})
		if p := wantProblem(t, resp, raw, codeDiskFull); !strings.Contains(p.Detail, want) {
			t.Errorf("%q does not say %q", p.Detail, want)
		}
		free = nil
	}
}

func TestUploadStoreFails(t *testing.T) {
	var err error
	fault := &storeFault{put: func(context.Context, string, io.Reader) error { return err }}
	var full error
	e := newEnv(t, func(c *Config) {
		fault.Store, c.Store = c.Store, fault
		c.FreeSpace = func() error { return full }
	})
	for _, c := range []struct {
		put, free error
		want      code
	}{
		{fmt.Errorf("put: %w", storage.ErrFull), nil, codeDiskFull},
		{nil, errFault, codeDiskFull},
		{fmt.Errorf("put: %w", syscall.EROFS), nil, codeDiskReadOnly},
		{nil, pipeline.Fail(pipeline.CodeDiskReadOnly, "the disk is read-only"), codeDiskReadOnly},
		{errFault, nil, codeStorageFailed},
	} {
		err, full = c.put, c.free
		resp, raw := e.post([]part{file("a.mp4", "meow")})
		if p := wantProblem(t, resp, raw, c.want); strings.Contains(string(raw), errFault.Error()) {
			t.Errorf("the answer reveals the cause: %+v", p)
		}
		equal(t, "objects", e.objects())
	}
}

// When it is unknown whether the event was written, the object stays.
func TestUploadLogFails(t *testing.T) {
	fault := &logFault{err: errFault}
	e := newEnv(t, func(c *Config) { fault.Log, c.Log = c.Log, fault })
	resp, raw := e.post([]part{file("a.mp4", "meow")})
	wantProblem(t, resp, raw, codeUnavailable)
	if n := len(e.objects()); n != 1 {
		t.Errorf("%d objects, want the one", n)
	}
	fault.err = pipeline.Fail(pipeline.CodeDiskFull, "the log is full")
	resp, raw = e.post([]part{file("a.mp4", "meow")})
	wantProblem(t, resp, raw, codeDiskFull)
}

func TestUploadTooMany(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	fault := &storeFault{put: func(context.Context, string, io.Reader) error {
		close(entered)
		<-leave
		return nil
	}}
	e := newEnv(t, func(c *Config) {
		c.Limits.MaxOpenUploads = 1
		fault.Store, c.Store = c.Store, fault
	})
	var wg sync.WaitGroup
	wg.Go(func() { e.post([]part{file("a.mp4", "meow")}) })
	<-entered
	resp, raw := e.post([]part{file("a.mp4", "meow")})
	wantProblem(t, resp, raw, codeTooManyUploads)
	close(leave)
	wg.Wait()
}

// lateCatalog never has the newest event in time.
type lateCatalog struct{ Catalog }

func (lateCatalog) WaitFor(context.Context, uint64) error { return context.DeadlineExceeded }

func TestUploadAnswersFromTheEvent(t *testing.T) {
	e := newEnv(t, func(c *Config) { c.Catalog = lateCatalog{c.Catalog} })
	if v := e.uploaded(); v.Status != "queued" || v.Size != 4 {
		t.Errorf("%+v", v)
	}
}

// TestUploadStreams sends 64 MiB and measures the heap while it generates the bytes.
func TestUploadStreams(t *testing.T) {
	const size = 64 << 20
	e := newEnv(t, func(c *Config) { c.Limits.MaxUpload = 0 })
	r, w := io.Pipe()
	form := multipart.NewWriter(w)
	src := &generator{left: size}
	go func() { w.CloseWithError(writeParts(form, part{"file", "big.mp4", src})) }()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	resp, raw := e.do("POST", "/v1/videos", r, "Content-Type", form.FormDataContentType())
	if resp.StatusCode != 201 {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	if v := decode[pipeline.VideoView](t, raw); v.Size != size {
		t.Errorf("size %d", v.Size)
	}
	if grown := int64(src.peak) - int64(before.HeapAlloc); grown > 24<<20 {
		t.Errorf("the heap grew by %d MiB for an upload of %d MiB", grown>>20, size>>20)
	}
}

// generator generates bytes, and records the largest heap that it sees.
type generator struct {
	left int
	peak uint64
	next int
}

func (g *generator) Read(p []byte) (int, error) {
	if g.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), g.left)
	for i := range p[:n] {
		p[i] = byte(i)
	}
	g.left -= n
	if g.next -= n; g.next <= 0 {
		g.next = 4 << 20
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		g.peak = max(g.peak, m.HeapAlloc)
	}
	return n, nil
}

// discarding returns an intake that stores nothing.
func discarding(t testing.TB) *intake {
	t.Helper()
	cfg := Config{Store: discardStore{}, Planner: planner{}}.withDefaults()
	in, err := newIntake(cfg, "form", project, "", "")
	must(t, err)
	return in
}

func FuzzFormFields(f *testing.F) {
	f.Add(`{"a":"b"}`, "text:x", "cat.mp4")
	f.Add(`{"a":1}`, `{"text":"x"}`, `..\..\x.MKV`)
	f.Fuzz(func(t *testing.T, metadata, watermark, filename string) {
		in := discarding(t)
		if m, err := in.parseMetadata([]byte(metadata)); (err == nil && m == nil) != (metadata == "") {
			t.Errorf("metadata %q: %v %v", metadata, m, err)
		}
		if p, err := in.parseParams("watermark", watermark); err == nil && p == nil {
			t.Errorf("watermark %q: %v %v", watermark, p, err)
		}
		clean := cleanFilename(filename)
		if clean == "" || strings.ContainsAny(clean, "/\\\r\n\x00") || len([]rune(clean)) > 255 {
			t.Errorf("filename %q", clean)
		}
		if err := storage.ValidKey(pipeline.SourceKey("vid_x", "upl_x"+extension(clean))); err != nil {
			t.Error(err)
		}
	})
}

func FuzzForm(f *testing.F) {
	f.Add([]byte(badField + partHead + "x\r\n--b--\r\n"))
	f.Add([]byte(partHead + "\r\n--b--\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		in := discarding(t)
		req, err := newForm(in, bytes.NewReader(body), "b").read(t.Context())
		if err != nil {
			return
		}
		if up, err := in.upload(req); err == nil && (up.Source.Size == 0 || up.Pipeline.Name == "") {
			t.Errorf("accepted %+v", up)
		}
	})
}

// discardStore accepts everything and stores nothing.
type discardStore struct{ storage.Store }

func (discardStore) Put(_ context.Context, key string, r io.Reader, _ storage.PutOptions) (storage.Info, error) {
	n, err := io.Copy(io.Discard, r)
	return storage.Info{Key: key, Size: n}, err
}
