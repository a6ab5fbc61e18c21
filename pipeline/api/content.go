package api

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"

	"github.com/reelmill/reelmill/storage"
)

// putContent takes the bytes of an upload in one request, as `curl -T` sends them.
func (s *server) putContent(w http.ResponseWriter, r *http.Request) {
	body := newUploadBody(w, r, s.cfg.Limits.MaxUpload, s.cfg.Limits)
	view, err := s.takeContent(r, body)
	if err != nil {
		s.refuseUpload(w, r, body, err)
		return
	}
	if !body.ended { // the upload was completed before, and nobody needs the bytes
		w.Header().Set("Connection", "close")
	}
	body.done()
	w.Header().Set("Cache-Control", "no-store")
	s.writeJSON(w, r, http.StatusOK, view)
}

// takeContent keeps the bytes of body and, when they are the last, makes the video.
func (s *server) takeContent(r *http.Request, body *uploadBody) (view uploadView, err error) {
	leave, err := s.enterUpload(r.Context(), r)
	if err != nil {
		return view, err
	}
	defer leave()
	d, err := s.uploadOf(r.Context(), r.PathValue("token"))
	if err == nil {
		err = d.wantMethod(byTus)
	}
	if err != nil {
		return view, err
	}
	c, err := s.readContent(r, d)
	if err != nil {
		return view, err
	}
	waiting, cancel := context.WithTimeout(r.Context(), lockTimeout)
	defer cancel()
	unlock, err := s.locks.lock(waiting, d.ID, body.interrupt)
	if err != nil {
		return view, err
	}
	defer unlock()
	if d, err = s.loadUpload(r.Context(), d.Project, d.ID); err != nil { // as the request before has left it
		return view, noSuch("upload", err)
	}
	if d.Status == uploadCompleted {
		return s.viewUpload(d, d.Size, uploadToken{}), nil
	}
	d, offset, err := s.keepContent(context.WithoutCancel(r.Context()), d, c, body)
	return s.viewUpload(d, offset, uploadToken{}), err
}

// content is what a PUT says about its bytes.
type content struct {
	begin  int64 // of the first byte
	resume bool  // Content-Range says where it begins
	total  int64 // bytes of the whole file; 0: not known
}

// contentRange matches what curl sends when it goes on (RFC 9110, 14.4).
var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// readContent reads the header of a PUT, and refuses what can be refused before the first byte.
func (s *server) readContent(r *http.Request, d uploadDoc) (c content, err error) {
	if err := mayReceive(d); err != nil {
		return c, err
	}
	c.total = max(0, r.ContentLength)
	if header := r.Header.Get("Content-Range"); header != "" {
		if c, err = readContentRange(header, r.ContentLength); err != nil {
			return c, err
		}
	} else if r.ContentLength == 0 {
		return c, fail(codeUploadEmpty, "The request has no bytes.")
	}
	switch {
	case max(c.total, c.begin) > s.cfg.Limits.MaxUpload:
		return c, fail(codeUploadTooLarge, "The file has more than %d bytes.", s.cfg.Limits.MaxUpload)
	case d.Size > 0 && c.total > 0 && c.total != d.Size:
		return c, wrongSize(d.Size, c.total)
	}
	return c, s.checkRoom()
}

// readContentRange reads a Content-Range that fits the length of the body; -1: the length is not known.
func readContentRange(header string, length int64) (c content, err error) {
	m := contentRange.FindStringSubmatch(header)
	if m == nil {
		return c, failAt("/header/Content-Range", codeInvalid,
			"Content-Range is %.80q; write one such as bytes 1000-1999/2000.", printable(header))
	}
	first, _ := strconv.ParseInt(m[1], 10, 64) // the pattern admits only numbers that fit
	last, _ := strconv.ParseInt(m[2], 10, 64)
	total, _ := strconv.ParseInt(m[3], 10, 64) // 0 for *
	if last < first || total > 0 && last >= total || length >= 0 && length != last-first+1 {
		return c, failAt("/header/Content-Range", codeInvalid,
			"Content-Range is %.80q, which does not fit itself or the length of the body.", header)
	}
	return content{begin: first, resume: true, total: total}, nil
}

// mayReceive refuses bytes for an upload that has ended without a video.
func mayReceive(d uploadDoc) error {
	if d.Status.ended() && d.Status != uploadCompleted {
		return fail(codeUploadEnded, "The upload is %s.", d.Status)
	}
	return nil
}

// checkRoom refuses bytes when the disk has no room.
func (s *server) checkRoom() error {
	if err := s.cfg.FreeSpace(); err != nil {
		return noRoom(err)
	}
	return nil
}

func wrongSize(want, got int64) *failure {
	return fail(codeUploadLength, "The upload has %d bytes, but %d were announced or came.", want, got)
}

// keepContent appends the bytes of a PUT. The caller holds the lock.
func (s *server) keepContent(ctx context.Context, d uploadDoc, c content, body *uploadBody) (
	_ uploadDoc, offset int64, err error,
) {
	if err := mayReceive(d); err != nil {
		return d, 0, err
	}
	if offset, err = s.kept(ctx, d); err != nil {
		return d, 0, err
	}
	if d, err = s.repair(ctx, d, offset); err != nil || d.Status.ended() {
		return d, offset, err
	}
	switch {
	case c.resume && c.begin != offset:
		return d, offset, fail(codeOffset, "The server keeps %d bytes, but the range begins at %d.",
			offset, c.begin)
	case !c.resume && offset > 0:
		if err := s.pieces.Abandon(ctx, d.Key); err != nil {
			return d, offset, ofStore(err)
		}
		offset = 0
	}
	whole := cmp.Or(d.Size, c.total)
	if offset, err = s.appendTo(ctx, d, offset, s.capped(whole, offset, body), nil); err != nil {
		return d, offset, s.refusedContent(ctx, d, body, err)
	}
	return s.afterContent(ctx, d, c, offset)
}

// afterContent makes the video if all bytes are kept.
func (s *server) afterContent(ctx context.Context, d uploadDoc, c content, offset int64) (
	_ uploadDoc, _ int64, err error,
) {
	if offset == 0 {
		return d, 0, fail(codeUploadEmpty, "The request has no bytes.")
	}
	if d.Size == 0 { // from now on, whoever sees these bytes knows that they are all
		if d.Size = c.total; d.Size == 0 && !c.resume {
			d.Size = offset
		}
		if d.Size == 0 {
			return d, offset, nil
		}
		if err := s.saveUpload(ctx, d, false); err != nil {
			return d, offset, err
		}
	}
	if offset < d.Size && !c.resume {
		return d, offset, wrongSize(d.Size, offset)
	}
	d, err = s.repair(ctx, s.touch(ctx, d), offset)
	return d, offset, err
}

// capped reads the rest of a file of so many bytes, 0 if that is not known, and fails when there is more.
func (s *server) capped(size, offset int64, r io.Reader) io.Reader {
	if size > 0 {
		return &cappedReader{r: r, left: size - offset, over: wrongSize(size, size+1)}
	}
	most := s.cfg.Limits.MaxUpload
	return &cappedReader{
		r: r, left: most - offset, over: fail(codeUploadTooLarge, "The file has more than %d bytes.", most),
	}
}

// refusedContent says why not all bytes of a PUT are kept. After a byte too many none is kept: the first ones
// are another file.
func (s *server) refusedContent(ctx context.Context, d uploadDoc, body *uploadBody, err error) error {
	f, refused := errors.AsType[*failure](err)
	if !refused || body.err != nil {
		return s.explainBody(body, err)
	}
	if f.code == codeUploadLength || f.code == codeUploadTooLarge {
		if err := s.pieces.Abandon(ctx, d.Key); err != nil {
			return ofStore(err)
		}
	}
	return f
}

// appendTo keeps the bytes of r after those that are kept, and returns how many there are now.
func (s *server) appendTo(
	ctx context.Context, d uploadDoc, offset int64, r io.Reader, sum *storage.Checksum,
) (int64, error) {
	if offset == 0 {
		if err := s.pieces.Begin(ctx, d.Key, d.Size); err != nil {
			return 0, ofStore(err)
		}
	}
	if d.Reserved == nil {
		m := newMeter(s.cfg.Quotas, d.Project)
		defer m.close(ctx)
		r = m.read(ctx, r)
	}
	kept, err := s.pieces.Append(ctx, d.Key, offset, r, sum)
	kept = max(kept, offset)
	if errors.Is(err, storage.ErrChecksum) {
		return kept, fail(codeChecksum, "The bytes do not have the checksum that came with them; none is kept.")
	}
	if _, known := errors.AsType[*failure](err); known {
		return kept, err
	}
	return kept, ofStore(err)
}

// explainBody says how a body ended, if that is why err happened.
func (s *server) explainBody(body *uploadBody, err error) error {
	f := classify((&intake{cfg: s.cfg, at: "body"}).explain(body, err))
	if f.code == codeUploadBroken {
		return brokenBody(f.err)
	}
	return f
}

// brokenBody is the failure of a body that ended too early.
func brokenBody(err error) *failure {
	f := fail(codeUploadBroken, "The connection ended before the body did.").because(err)
	f.remedy = "Send it again. An upload goes on from its offset, which HEAD tells; without that, from 0."
	return f
}
