package api

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"slices"
	"syscall"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/storage"
)

const (
	// cleanTimeout bounds the deletion of what a refused upload has stored.
	cleanTimeout = 30 * time.Second
	// acceptTimeout bounds the write of the event, which goes on when the client is gone.
	acceptTimeout = 30 * time.Second
	// sniffed is how many bytes decide the format of an asset.
	sniffed = 512
)

// intake turns one upload into video.uploaded, whatever way its bytes arrive. A way in
//
//  1. makes an intake, which names the video, and asks admit whether the server takes any upload;
//  2. parses the fields that arrive as text, or fills in the request itself;
//  3. brings the source and the assets: as streams, by storeSource and storeAsset, or as objects that are in
//     the store already, by addSource and addAsset. Before a long stream it calls check. A source that a
//     worker is to fetch goes into the field fetch instead;
//  4. calls accept, or discard when the upload ends before that.
//
// The intake owns the objects that it was given: it deletes them when the upload is certainly not accepted.
// Its errors are failures that point to the field at fault, below at.
type intake struct {
	cfg     Config
	traits  map[string]pipeline.Traits
	at      string // where the fields stand in the request, such as form
	project string
	video   string
	parent  string        // traceparent of the request
	token   *access.Token // with which the upload is made; nil: with another credential

	meter  *meter // of the bytes of the source; may be nil
	source *pipeline.Object
	fetch  *pipeline.Fetch            // in place of source
	assets map[string]pipeline.Object // by worker type
	stored []string                   // keys of source and assets
}

// newIntake returns an intake for a new video, or for the one that belongs to an idempotency key.
func newIntake(cfg Config, at, project, key, parent string) (*intake, error) {
	video, err := videoID(project, key)
	if err != nil {
		return nil, err
	}
	return &intake{
		cfg: cfg, traits: cfg.Planner.Traits(), at: at, project: project, video: video, parent: parent,
		assets: map[string]pipeline.Object{},
	}, nil
}

// videoID returns a new id, or the one that belongs to an idempotency key of a project.
func videoID(project, key string) (string, error) {
	if key == "" {
		return pipeline.NewID("vid"), nil
	}
	if err := checkKey(key); err != nil {
		return "", err
	}
	return pipeline.DerivedID("vid", sha256.Sum256([]byte(project+"\n"+key))), nil
}

// checkKey refuses an idempotency key that is too long.
func checkKey(key string) error {
	if len(key) > 255 {
		return failAt("/header/Idempotency-Key", codeInvalid,
			"The key has %d characters; at most 255 are allowed.", len(key))
	}
	return nil
}

// admit refuses any upload when the server is stopping or has no room, or when too many videos are under
// way.
func (s *server) admit(ctx context.Context) error {
	if s.stopping(ctx) {
		return fail(codeUnavailable, "The server is stopping.")
	}
	if err := s.cfg.FreeSpace(); err != nil {
		return noRoom(err)
	}
	if err := s.cfg.LogRoom(ctx); err != nil {
		return err
	}
	if s.cfg.Backlog == nil {
		return nil
	}
	ofProject, total, err := s.cfg.Backlog.Backlog(ctx, projectOf(ctx))
	switch l := s.cfg.Limits; {
	case err != nil: // the log decides: the upload needs it anyway
		s.cfg.Logger.WarnContext(ctx, "count open videos", "request_id", requestID(ctx), "error", err)
	case total >= l.MaxVideos:
		return fail(codeQueueFull, "%d videos have not ended; the limit is %d.", total, l.MaxVideos)
	case ofProject >= l.MaxProjectVideos:
		return fail(codeTooManyVideos, "%d videos of the project have not ended; the limit is %d.",
			ofProject, l.MaxProjectVideos)
	}
	return nil
}

// noRoom is the failure for an answer of Config.FreeSpace: its own code and detail, or disk_full.
func noRoom(err error) *failure {
	if p, ok := errors.AsType[*pipeline.Error](err); ok {
		return fail(code(p.Code), "%s.", sentence(p.Detail)).because(err)
	}
	return fail(codeDiskFull, "The server has no room for uploads.").because(err)
}

// stopping reports whether the process, or the server of ctx, is about to end.
func (s *server) stopping(ctx context.Context) bool {
	select {
	case <-closing(ctx):
		return true
	default:
		return s.cfg.Stopping()
	}
}

// tooLarge is the failure of a source that is too large.
func (in *intake) tooLarge() *failure {
	return in.fail("file", codeUploadTooLarge, "The file has more than %d bytes.", in.cfg.Limits.MaxUpload)
}

// fail returns a failure that points to a field.
func (in *intake) fail(field string, c code, format string, args ...any) *failure {
	return failAt(pointer(in.at, field), c, format, args...)
}

// storeSource puts the video into the store while it arrives. filename is the user's.
func (in *intake) storeSource(ctx context.Context, filename string, body io.Reader) error {
	buffered := bufio.NewReader(body)
	if _, err := buffered.Peek(1); err == io.EOF { // the store meets any other error again
		return in.empty()
	}
	filename = cleanFilename(filename)
	key := pipeline.SourceKey(in.video, pipeline.NewID("upl")+extension(filename))
	object, err := in.put(ctx, key, in.meter.read(ctx, buffered), in.cfg.Limits.MaxUpload, in.tooLarge())
	if err != nil {
		return err
	}
	object.Filename = filename
	in.addSource(object)
	return nil
}

// empty is the failure of a source without bytes.
func (in *intake) empty() *failure { return in.fail("file", codeUploadEmpty, "The file has no bytes.") }

// addSource makes an object of the store the source of the video.
func (in *intake) addSource(object pipeline.Object) {
	in.source, in.stored = &object, append(in.stored, object.Key)
}

// storeAsset puts the file for the steps of a worker type into the store while it arrives. The file must have
// one of the type's formats.
func (in *intake) storeAsset(ctx context.Context, worker, filename string, body io.Reader) error {
	field := in.traits[worker].Upload
	buffered := bufio.NewReader(body)
	head, err := buffered.Peek(sniffed)
	if err != nil && !isEOF(err) {
		return err
	}
	i := slices.IndexFunc(field.Formats, func(f pipeline.Format) bool { return f.Matches(filename, head) })
	if i < 0 || len(head) == 0 {
		return in.failStep(worker, codeStepInvalid, "The file in %s is not %s.", worker, formatNames(field.Formats))
	}
	limit := in.cfg.Limits.MaxAsset
	checked := newCheckedReader(buffered, field.CheckFile)
	defer checked.close()
	key := pipeline.SourceKey(in.video, pipeline.NewID("ast")+field.Formats[i].Extension)
	object, err := in.put(ctx, key, checked, limit,
		in.fail(worker, codeFieldTooLarge, "The file in %s has more than %d bytes.", worker, limit))
	if refusal, ok := errors.AsType[*pipeline.Error](err); ok {
		return in.failStep(worker, codeStepInvalid, "%.500s.", sentence(printable(refusal.Detail)))
	}
	if err != nil {
		return err
	}
	object.Filename = cleanFilename(filename)
	in.addAsset(worker, object)
	return nil
}

// addAsset makes an object of the store the file for the steps of a worker type.
func (in *intake) addAsset(worker string, object pipeline.Object) {
	in.assets[worker], in.stored = object, append(in.stored, object.Key)
}

// put stores a stream. A stream longer than limit fails with tooLarge.
func (in *intake) put(ctx context.Context, key string, body io.Reader, limit int64, tooLarge *failure) (
	pipeline.Object, error,
) {
	media := storage.ContentType(key)
	capped := &cappedReader{r: body, left: limit, over: tooLarge}
	info, err := in.cfg.Store.Put(ctx, key, capped, storage.PutOptions{ContentType: media})
	if err == nil {
		return pipeline.Object{Key: key, Size: info.Size, SHA256: info.SHA256, ContentType: media}, nil
	}
	_, known := errors.AsType[*failure](err)
	_, refused := errors.AsType[*pipeline.Error](err)
	switch {
	case known, refused, errors.Is(err, context.Canceled):
		return pipeline.Object{}, err
	case errors.Is(err, storage.ErrFull):
		return pipeline.Object{}, fail(codeDiskFull,
			"The object store is full: it had room for %d bytes of the file, and keeps none of them.",
			limit-capped.left).because(err)
	case errors.Is(err, syscall.EROFS):
		return pipeline.Object{}, fail(codeDiskReadOnly, "The disk of the object store is read-only.").because(err)
	}
	return pipeline.Object{}, fail(codeStorageFailed, "The object store did not take the file.").because(err)
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

// upload checks a whole request, and returns the data of video.uploaded.
func (in *intake) upload(req request) (pipeline.Upload, error) {
	if err := in.checkSource(); err != nil {
		return pipeline.Upload{}, err
	}
	doc, err := in.document(req)
	if err != nil {
		return pipeline.Upload{}, err
	}
	if err := in.checkFields(req); err != nil {
		return pipeline.Upload{}, err
	}
	up := pipeline.Upload{
		Fetch: in.fetch, Pipeline: doc, Title: req.Title, Metadata: req.Metadata, Passthrough: req.Passthrough,
		Assets: in.assets,
	}
	if in.source != nil {
		up.Source = *in.source
	}
	if req.Priority != pipeline.Normal { // the default is written as empty
		up.Priority = req.Priority
	}
	if req.Policy.Signed() { // likewise
		up.PlaybackPolicy = req.Policy
	}
	if req.Webhook != "" || in.cfg.WebhookDefault {
		up.Webhook = &pipeline.Webhook{URL: req.Webhook}
	}
	up.Requested, err = in.requested(doc, req)
	return up, err
}

// checkSource refuses an upload without a source.
func (in *intake) checkSource() error {
	switch {
	case in.fetch != nil:
		return nil
	case in.source == nil:
		return in.fail("file", codeUploadFile, "The upload has no file.")
	case in.source.Size == 0:
		return in.empty()
	}
	return nil
}

// accept writes video.uploaded, and returns it. replayed says that the idempotency key had been used for the
// same upload: then the event is the first one. When the event was certainly not written, the objects are
// deleted.
func (in *intake) accept(ctx context.Context, req request) (e pipeline.Event, replayed bool, err error) {
	defaulted := req.Policy == ""
	err = in.usePolicy(ctx, &req)
	var up pipeline.Upload
	if err == nil {
		up, err = in.upload(req)
	}
	if err != nil {
		in.discard(ctx)
		return pipeline.Event{}, false, err
	}
	accepting, cancel := context.WithTimeout(context.WithoutCancel(ctx), acceptTimeout)
	defer cancel()
	e, replayed, err = pipeline.Accept(accepting, in.cfg.Log, in.project, in.video, up, in.parent)
	if defaulted && errors.Is(err, pipeline.ErrReused) { // perhaps the default of the project was another then
		up.PlaybackPolicy = otherPolicy(up.PlaybackPolicy)
		e, replayed, err = pipeline.Accept(accepting, in.cfg.Log, in.project, in.video, up, in.parent)
	}
	if replayed {
		in.release(e)
	}
	if replayed || errors.Is(err, pipeline.ErrReused) || errors.Is(err, pipeline.ErrDeleted) {
		in.discard(ctx) // the first upload's objects are the video's
	}
	if err != nil {
		return e, false, orUnavailable(err)
	}
	if replayed {
		err = in.checkDeleted(accepting)
	}
	return e, replayed, err
}

// usePolicy lets the project say who may play the video, if the request does not.
func (in *intake) usePolicy(ctx context.Context, req *request) error {
	if req.Policy != "" || in.cfg.Keys == nil {
		return nil
	}
	err := in.cfg.Keys.Read(ctx, func(s *access.State) {
		p, _ := s.Project(in.project)
		req.Policy = p.PlaybackPolicy
	})
	if errors.Is(err, access.ErrStale) {
		return fail(codeUnavailable, "The server cannot know now who may play the videos of the project.").
			because(err)
	}
	return err
}

// otherPolicy returns the policy in video.uploaded that p is not.
func otherPolicy(p pipeline.PlaybackPolicy) pipeline.PlaybackPolicy {
	if p.Signed() {
		return ""
	}
	return pipeline.PlaybackSigned
}

// release lets go of the objects that e, an earlier event, has already: the same upload was accepted before.
func (in *intake) release(e pipeline.Event) {
	var before pipeline.Upload
	if e.Decode(&before) != nil {
		in.stored = nil // rather an object too many
		return
	}
	in.stored = slices.DeleteFunc(in.stored, func(key string) bool {
		used := key == before.Source.Key
		for _, asset := range before.Assets {
			used = used || key == asset.Key
		}
		return used
	})
}

// checkDeleted refuses a replay of an upload whose video was deleted.
func (in *intake) checkDeleted(ctx context.Context) error {
	last, err := in.cfg.Log.Last(ctx, pipeline.DeletedSubject(in.project, in.video))
	if err != nil {
		return orUnavailable(err)
	}
	if last[0].Sequence != 0 {
		return fail(codeVideoDeleted, "The video %s was deleted.", in.video)
	}
	return nil
}

// discard deletes the objects of the upload, also when the client is gone.
func (in *intake) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	for _, key := range in.stored {
		if err := in.cfg.Store.Delete(ctx, key); err != nil {
			in.cfg.Logger.WarnContext(ctx, "delete object of a refused upload; the janitor will", "key", key,
				"request_id", requestID(ctx), "error", err)
		}
	}
}
