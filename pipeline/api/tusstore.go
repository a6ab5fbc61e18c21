package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tus/tusd/v2/pkg/handler"

	"github.com/reelmill/reelmill/storage"
)

// tusCall is one request of the tus protocol: what tusd does not pass on to its store.
type tusCall struct {
	s      *server
	r      *http.Request
	known  uploadDoc         // the upload that the token belongs to; none when the request creates one
	token  uploadToken       // of the upload
	body   *uploadBody       // nil without a body
	sum    *storage.Checksum // of the body; may be nil
	upload *tusUpload        // what the request works on, once tusd has asked for it
	before bool              // an earlier request has created the upload
	err    error             // of the store: tusd would answer 500
}

// storeTimeout bounds the work on the document of an upload.
const storeTimeout = 30 * time.Second

// unhurried returns a context for that work. It does not end with the request, which a later one may
// interrupt at any time: only the body ends then.
func unhurried(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
}

type tusCallKey struct{}

// tusCallOf returns the request that a context of tusd belongs to.
func tusCallOf(ctx context.Context) *tusCall { return ctx.Value(tusCallKey{}).(*tusCall) }

// failed notes an error of the store, for the answer.
func (c *tusCall) failed(err error) error {
	if err != nil {
		c.err = err
	}
	return err
}

// tusStore is the data store of tusd: documents, and bytes in the object store.
type tusStore struct{}

// NewUpload implements tusd's DataStore.
func (tusStore) NewUpload(ctx context.Context, info handler.FileInfo) (handler.Upload, error) {
	c := tusCallOf(ctx)
	ctx, cancel := unhurried(ctx)
	defer cancel()
	in, err := newIntake(c.s.cfg, "metadata", projectOf(ctx), "", c.r.Header.Get("traceparent"))
	if err != nil {
		return nil, c.failed(err)
	}
	in.token = grantOf(ctx).Token
	order, err := in.tusOrder(c.r.Header.Get("Upload-Metadata"), info.MetaData, info.Size, !info.SizeIsDeferred)
	if err != nil {
		return nil, c.failed(err)
	}
	key := keyFor(ctx, c.r.Header.Get("Idempotency-Key"))
	d, token, replayed, err := c.s.createUpload(ctx, in, order, key)
	if err != nil {
		return nil, c.failed(in.tokenUsed(err))
	}
	c.token, c.before = token, replayed
	c.upload = &tusUpload{c: c, d: d}
	return c.upload, nil
}

// GetUpload implements tusd's DataStore. tusd holds the lock, so the document is read again.
func (tusStore) GetUpload(ctx context.Context, _ string) (handler.Upload, error) {
	c := tusCallOf(ctx)
	ctx, cancel := unhurried(ctx)
	defer cancel()
	d, err := c.s.loadUpload(ctx, c.known.Project, c.known.ID)
	if err != nil {
		return nil, c.failed(noSuch("upload", err))
	}
	c.upload = &tusUpload{c: c, d: d}
	return c.upload, nil
}

// AsTerminatableUpload implements tusd's TerminaterDataStore.
func (tusStore) AsTerminatableUpload(u handler.Upload) handler.TerminatableUpload {
	return u.(*tusUpload)
}

// AsLengthDeclarableUpload implements tusd's LengthDeferrerDataStore.
func (tusStore) AsLengthDeclarableUpload(u handler.Upload) handler.LengthDeclarableUpload {
	return u.(*tusUpload)
}

// tusUpload is the upload that a request works on.
type tusUpload struct {
	c *tusCall
	d uploadDoc
}

// GetInfo implements tusd's Upload. It answers only after it has made the video, if all bytes are kept: a
// client that learns that all have come forgets the file.
func (u *tusUpload) GetInfo(ctx context.Context) (handler.FileInfo, error) {
	info := handler.FileInfo{
		ID: u.d.ID, Size: u.d.Size, SizeIsDeferred: u.d.Size == 0,
		MetaData: handler.MetaData{"filename": u.d.Filename},
	}
	if u.d.TusMetadata != nil {
		info.MetaData = u.d.TusMetadata
	}
	ctx, cancel := unhurried(ctx)
	defer cancel()
	err := mayReceive(u.d)
	if err == nil {
		info.Offset, err = u.c.s.kept(ctx, u.d)
	}
	if err == nil {
		u.d, err = u.c.s.repair(ctx, u.d, info.Offset)
	}
	if err == nil && u.c.before && u.c.body != nil && info.Offset > 0 {
		err = fail(codeOffset, "The upload exists, and %d bytes of it are kept; send the rest to its URL.",
			info.Offset)
	}
	return info, u.c.failed(err)
}

// WriteChunk implements tusd's Upload. src ends early, without an error, when the body does.
func (u *tusUpload) WriteChunk(ctx context.Context, offset int64, src io.Reader) (int64, error) {
	s := u.c.s
	if err := s.checkRoom(); err != nil {
		return 0, u.c.failed(err)
	}
	ctx = context.WithoutCancel(ctx) // src ends when the client is gone; what came until then is kept
	kept, err := s.appendTo(ctx, u.d, offset, src, u.c.sum)
	if kept > offset {
		u.d = s.touch(ctx, u.d)
	}
	return kept - offset, u.c.failed(err)
}

// FinishUpload implements tusd's Upload: the last PATCH is answered when the video is in the log.
func (u *tusUpload) FinishUpload(ctx context.Context) (err error) {
	u.d, err = u.c.s.finishUpload(ctx, u.d)
	return u.c.failed(err)
}

// DeclareLength implements tusd's LengthDeclarableUpload.
func (u *tusUpload) DeclareLength(ctx context.Context, length int64) error {
	if length == 0 {
		return u.c.failed(fail(codeUploadEmpty, "The file has no bytes."))
	}
	ctx, cancel := unhurried(ctx)
	defer cancel()
	u.d.Size = length
	return u.c.failed(u.c.s.saveUpload(ctx, u.d, false))
}

// Terminate implements tusd's TerminatableUpload.
func (u *tusUpload) Terminate(ctx context.Context) (err error) {
	ctx, cancel := unhurried(ctx)
	defer cancel()
	u.d, err = u.c.s.stopUpload(ctx, u.d)
	return u.c.failed(err)
}

// GetReader implements tusd's Upload. Nobody may download what is not judged yet.
func (u *tusUpload) GetReader(context.Context) (io.ReadCloser, error) {
	return nil, errors.ErrUnsupported
}
