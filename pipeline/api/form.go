package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage"
)

// Bounds of the fields of a form.
const (
	maxParts       = 16
	maxField       = 8 << 10 // bytes of a text field, but for metadata
	maxEpilogue    = 4 << 10 // bytes after the form
	maxWebhookURL  = 2048    // bytes
	maxPassthrough = 4 << 10 // bytes
)

// formFields are the names that a part of the form may have.
var formFields = []string{
	"file", "pipeline", "priority", "metadata", "passthrough", "watermark", "webhook_url",
}

// watermarkAsset is the name that the parameters of a watermark use for the upload's image.
const watermarkAsset = "watermark"

// form reads a multipart body (RFC 7578) part by part. Files go to the store while they are read; fields
// are few and small, and may come before or after.
type form struct {
	s      *server
	video  string
	body   io.Reader
	parts  *multipart.Reader
	seen   map[string]bool
	stored []string // keys of objects that are in the store

	unread      error // why a part could not be read to its end: the fault of who sent it
	file        *pipeline.Object
	image       *pipeline.Object // of the watermark
	overlay     map[string]any   // other parameters of the watermark; nil when none came
	pipeline    string
	priority    pipeline.Priority
	metadata    map[string]string
	passthrough string
	webhook     string
}

func newForm(s *server, video string, body io.Reader, boundary string) *form {
	return &form{
		s: s, video: video, body: body, parts: multipart.NewReader(body, boundary), seen: map[string]bool{},
	}
}

// read reads the whole form, to its closing boundary, and returns the upload. On an error, what is in the
// store is listed in stored.
func (f *form) read(ctx context.Context) (pipeline.Upload, error) {
	for n := 0; ; n++ {
		part, err := f.parts.NextPart()
		if err == io.EOF { // only the bare EOF is the closing boundary
			break
		}
		if err != nil && n == 0 && isEOF(err) {
			return pipeline.Upload{}, fail(codeUploadMalformed,
				"The body does not have the boundary that Content-Type names.")
		}
		if err != nil {
			return pipeline.Upload{}, f.broken(err)
		}
		if n == maxParts {
			return pipeline.Upload{}, fail(codeUploadMalformed, "The form has more than %d parts.", maxParts)
		}
		if err := f.take(ctx, part); err != nil {
			if f.unread != nil { // whatever was made of it on the way, as by a store
				err = f.broken(f.unread)
			}
			return pipeline.Upload{}, err
		}
	}
	if err := f.finish(); err != nil {
		return pipeline.Upload{}, err
	}
	if f.file == nil {
		return pipeline.Upload{}, failAt("/form/file", codeUploadFile, "The form has no part named file.")
	}
	return f.upload()
}

// finish reads what follows the closing boundary, which has no meaning (RFC 2046, 5.1.1) and is short.
func (f *form) finish() error {
	n, err := io.CopyN(io.Discard, f.body, maxEpilogue+1)
	switch {
	case n > maxEpilogue:
		return fail(codeUploadMalformed, "The body goes on after the form.")
	case !isEOF(err):
		return err
	}
	return nil
}

// broken explains a form that cannot be read on: the connection's fault if the body says so, else the
// client's.
func (f *form) broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || isEOF(err) {
		return fail(codeUploadBroken, "The body ended before the form did.").because(err)
	}
	return fail(codeUploadMalformed, "The form cannot be read: %.200s.", printable(err.Error()))
}

// isEOF reports whether err is the end of a body: what multipart calls an end that comes too early wraps
// io.EOF.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// take reads one part.
func (f *form) take(ctx context.Context, part *multipart.Part) error {
	name := part.FormName()
	id := name
	if name == "watermark" && part.FileName() != "" {
		id = "watermark image" // an image and parameters may both come
	}
	if f.seen[id] {
		return failAt(pointer("form", name), codeFieldRepeated, "The field %.40q is there twice.", name)
	}
	f.seen[id] = true
	switch id {
	case "file":
		return f.takeFile(ctx, part.FileName(), &partReader{part, f})
	case "watermark image":
		return f.takeImage(ctx, part.FileName(), &partReader{part, f})
	case "pipeline", "priority", "metadata", "passthrough", "watermark", "webhook_url":
		return f.takeField(name, &partReader{part, f})
	}
	if name == "" {
		return failAt("/form", codeFieldUnknown, "A part of the form has no name; the known ones are %s.",
			strings.Join(formFields, ", "))
	}
	return failAt(pointer("form", name), codeFieldUnknown, "%s.",
		sentence(pipeline.Unknown("field", name, formFields)))
}

// partReader reads a part, and notes why that failed.
type partReader struct {
	r io.Reader
	f *form
}

// Read implements io.Reader.
func (p *partReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && err != io.EOF { // only the bare EOF is the part's end
		p.f.unread = err
	}
	return n, err
}

// takeFile stores the video. Fields that came before it are checked first, so that a mistake costs no upload.
func (f *form) takeFile(ctx context.Context, name string, part io.Reader) error {
	if err := f.checkEarly(); err != nil {
		return err
	}
	body := bufio.NewReader(part)
	if _, err := body.Peek(1); err == io.EOF { // only the bare EOF is the part's end
		return failAt("/form/file", codeUploadEmpty, "The file has no bytes.")
	}
	filename := cleanFilename(name)
	key := pipeline.SourceKey(f.video, pipeline.NewID("upl")+extension(filename))
	object, err := f.store(ctx, key, body, f.s.cfg.Limits.MaxUpload, f.s.tooLarge())
	if err != nil {
		return err
	}
	object.Filename = filename
	f.file = &object
	return nil
}

// store puts a part into the store; one that is longer than limit is refused with tooLarge.
func (f *form) store(ctx context.Context, key string, body io.Reader, limit int64, tooLarge *failure) (
	pipeline.Object, error,
) {
	capped := &cappedReader{r: body, left: limit, over: tooLarge}
	media := storage.ContentType(key)
	info, err := f.s.cfg.Store.Put(ctx, key, capped, storage.PutOptions{ContentType: media})
	if err != nil {
		return pipeline.Object{}, err
	}
	f.stored = append(f.stored, key)
	return pipeline.Object{Key: key, Size: info.Size, SHA256: info.SHA256, ContentType: media}, nil
}

// cappedReader fails with over when there is more than left.
type cappedReader struct {
	r    io.Reader
	left int64
	over *failure
}

// Read implements io.Reader.
func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, c.over
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1] // one byte too many is enough to know
	}
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, c.over
	}
	return n, err
}

// takeImage stores the image of a watermark. Its first bytes say what it is, whatever its name says.
func (f *form) takeImage(ctx context.Context, name string, part io.Reader) error {
	body := bufio.NewReader(part)
	head, err := body.Peek(12)
	if err != nil && !isEOF(err) {
		return err
	}
	ext := imageExtension(head)
	if ext == "" {
		return failAt("/form/watermark", codeWatermark, "The image is neither JPEG nor PNG nor WebP.")
	}
	limit := f.s.cfg.Limits.MaxWatermark
	object, err := f.store(ctx, pipeline.SourceKey(f.video, pipeline.NewID("wmk")+ext), body, limit,
		failAt("/form/watermark", codeFieldTooLarge, "The image has more than %d bytes.", limit))
	if err != nil {
		return err
	}
	object.Filename = cleanFilename(name)
	f.image = &object
	return nil
}

// imageExtension tells an image by its first bytes; empty for none of the three that are allowed. Sources:
// ITU-T T.81 (JPEG), RFC 2083 (PNG), RFC 9649 (WebP).
func imageExtension(head []byte) string {
	switch h := string(head); {
	case strings.HasPrefix(h, "\xff\xd8\xff"):
		return ".jpg"
	case strings.HasPrefix(h, "\x89PNG\r\n\x1a\n"):
		return ".png"
	case len(h) >= 12 && h[:4] == "RIFF" && h[8:12] == "WEBP":
		return ".webp"
	}
	return ""
}

// takeField reads a text field.
func (f *form) takeField(name string, part io.Reader) error {
	limit := int64(maxField)
	switch name {
	case "metadata":
		limit = f.s.cfg.Limits.MaxMetadata
	case "passthrough":
		limit = maxPassthrough
	case "webhook_url":
		limit = maxWebhookURL
	}
	over := failAt("/form/"+name, codeFieldTooLarge, "%s has more than %d bytes.", name, limit)
	raw, err := io.ReadAll(&cappedReader{r: part, left: limit, over: over})
	if err != nil {
		return err
	}
	if !utf8.Valid(raw) {
		return failAt("/form/"+name, codeInvalid, "%s is not UTF-8.", name)
	}
	switch value := string(raw); name {
	case "pipeline":
		f.pipeline = value
	case "priority":
		f.priority, err = parsePriority(value)
	case "metadata":
		f.metadata, err = parseMetadata(raw)
	case "passthrough":
		f.passthrough = value
	case "watermark":
		f.overlay, err = parseWatermark(value)
	case "webhook_url":
		f.webhook = value
	}
	return err
}

// parsePriority reads a priority; normal, the default, is empty.
func parsePriority(value string) (pipeline.Priority, error) {
	switch p := pipeline.Priority(value); p {
	case "", pipeline.Normal:
		return "", nil
	case pipeline.High, pipeline.Bulk:
		return p, nil
	}
	return "", failAt("/form/priority", codeInvalid, "%s.",
		sentence(pipeline.Unknown("priority", value, []string{"high", "normal", "bulk"})))
}

// parseMetadata decodes a JSON object of strings.
func parseMetadata(raw []byte) (map[string]string, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var values map[string]*string
	if err := json.Unmarshal(raw, &values); err != nil || values == nil {
		return nil, failAt("/form/metadata", codeMetadata, "metadata is not a JSON object of strings.")
	}
	metadata := make(map[string]string, len(values))
	for key, value := range values {
		if value == nil {
			return nil, failAt("/form/metadata", codeMetadata, "The value of %.40q is null, not a string.", key)
		}
		metadata[key] = *value
	}
	return metadata, nil
}

// parseWatermark reads the text form of a watermark: text:..., or a JSON object of parameters.
func parseWatermark(value string) (map[string]any, error) {
	if text, ok := strings.CutPrefix(value, "text:"); ok {
		if strings.TrimSpace(text) == "" {
			return nil, failAt("/form/watermark", codeWatermark, "The text is empty.")
		}
		return map[string]any{"text": text}, nil
	}
	var params map[string]any
	if err := json.Unmarshal([]byte(value), &params); err != nil || params == nil {
		return nil, failAt("/form/watermark", codeWatermark,
			"watermark is no image, no text:... and no JSON object.")
	}
	if _, ok := params["image"]; ok {
		return nil, failAt("/form/watermark/image", codeWatermark, "Send the image as a file part named watermark.")
	}
	return params, nil
}

// checkEarly checks the fields that came before the file and cannot change any more.
func (f *form) checkEarly() error {
	if f.webhook != "" {
		if err := f.checkWebhook(); err != nil {
			return err
		}
	}
	if !f.seen["pipeline"] {
		return nil
	}
	doc, err := f.document()
	if err != nil {
		return err
	}
	if f.image == nil && f.overlay == nil {
		return nil
	}
	_, err = f.watermark(doc)
	return err
}

// upload checks the whole form and returns what is accepted.
func (f *form) upload() (pipeline.Upload, error) {
	doc, err := f.document()
	if err != nil {
		return pipeline.Upload{}, err
	}
	up := pipeline.Upload{
		Source: *f.file, Pipeline: doc, Metadata: f.metadata, Passthrough: f.passthrough, Priority: f.priority,
	}
	if f.image != nil || f.overlay != nil {
		if up.Requested, err = f.watermark(doc); err != nil {
			return up, err
		}
	}
	if f.image != nil {
		up.Assets = map[string]pipeline.Object{watermarkAsset: *f.image}
	}
	if f.webhook != "" {
		if err := f.checkWebhook(); err != nil {
			return up, err
		}
	}
	if f.webhook != "" || f.s.cfg.WebhookDefault {
		up.Webhook = &pipeline.Webhook{URL: f.webhook}
	}
	return up, nil
}

// document returns the pipeline that the form names.
func (f *form) document() (pipeline.Pipeline, error) {
	name := f.pipeline
	if name == "" {
		name = pipeline.DefaultPipeline
	}
	doc, ok := f.s.cfg.Pipelines[name]
	if !ok {
		known := slices.Collect(maps.Keys(f.s.cfg.Pipelines))
		return doc, failAt("/form/pipeline", codePipelineUnknown, "%s.",
			sentence(pipeline.Unknown("pipeline", name, known)))
	}
	return doc, nil
}

// watermark returns the parameters that the upload lays over those of the pipeline's watermark step.
func (f *form) watermark(doc pipeline.Pipeline) (map[string]map[string]any, error) {
	i := slices.IndexFunc(doc.Steps, func(s pipeline.Step) bool { return s.Worker == "watermark" })
	if i < 0 {
		return nil, failAt("/form/watermark", codeWatermarkNone, "The pipeline %s has no watermark step.", doc.Name)
	}
	step := doc.Steps[i]
	requested := maps.Clone(f.overlay)
	if requested == nil {
		requested = map[string]any{}
	}
	if f.image != nil {
		requested["image"] = watermarkAsset
	}
	merged := map[string]any{}
	maps.Copy(merged, step.With)
	maps.Copy(merged, requested)
	raw, err := json.Marshal(merged)
	if err != nil {
		return nil, err
	}
	if err := f.s.cfg.Planner.Check(step.Worker, raw); err != nil {
		return nil, f.refusedParameters(err)
	}
	name := step.Name
	if name == "" {
		name = step.Worker
	}
	return map[string]map[string]any{name: requested}, nil
}

// refusedParameters says what the worker has against the parameters; that it is missing is no fault of the
// client.
func (f *form) refusedParameters(err error) error {
	detail := err.Error()
	if e, ok := errors.AsType[*pipeline.Error](err); ok {
		if e.Code == pipeline.CodeWorkerTypeUnknown {
			return fail(codeUnavailable, "No worker makes watermarks here.").because(err)
		}
		detail = e.Detail
	}
	return failAt("/form/watermark", codeWatermark, "%.500s", printable(detail))
}

func (f *form) checkWebhook() error {
	u, err := url.Parse(f.webhook)
	if err != nil || u.Host == "" || !isWeb(u) {
		return failAt("/form/webhook_url", codeWebhookRefused, "%.80q is not an http(s) address.", f.webhook)
	}
	if err := f.s.cfg.CheckWebhookURL(f.webhook); err != nil {
		return failAt("/form/webhook_url", codeWebhookRefused, "%.300s", printable(err.Error()))
	}
	return nil
}

// printable drops what is no printable character.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
