package api

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a form.
const (
	maxParts     = 16
	maxEpilogue  = 4 << 10 // bytes after the form
	formOverhead = 1 << 20 // bytes of a form beside its files and its metadata
	// maxPartHeader is how many bytes are read for the header of a part, at least 4 KiB of which it may have:
	// the reader of package multipart reads ahead. By itself that package allows 10 MiB.
	maxPartHeader = 16 << 10
)

// form reads a multipart body (RFC 7578) part by part for an intake. Files go to the store while they are
// read. Fields are few and small, and may come before or after the files.
type form struct {
	in     *intake
	body   *headerCap
	parts  *multipart.Reader
	seen   map[string]bool
	req    request
	unread error // why a part could not be read to its end: the sender's fault
}

func newForm(in *intake, body io.Reader, boundary string) *form {
	capped := &headerCap{r: body}
	return &form{in: in, body: capped, parts: multipart.NewReader(capped, boundary), seen: map[string]bool{}}
}

// headerCap is the body of a form, of which the header of a part may use maxPartHeader bytes.
type headerCap struct {
	r      io.Reader
	header bool // the header of a part is being read
	left   int
	over   bool // the header was longer
}

// within limits what is read until it is called with false.
func (h *headerCap) within(header bool) { h.header, h.left = header, maxPartHeader }

// Read implements io.Reader.
func (h *headerCap) Read(p []byte) (int, error) {
	if !h.header {
		return h.r.Read(p)
	}
	if h.left <= 0 {
		h.over = true
		return 0, io.ErrUnexpectedEOF
	}
	n, err := h.r.Read(p[:min(len(p), h.left)])
	h.left -= n
	return n, err
}

// maxForm returns how many bytes a whole form may have.
func maxForm(cfg Config) int64 {
	l := cfg.Limits
	size := l.MaxUpload + l.MaxMetadata + formOverhead
	for _, t := range cfg.Planner.Traits() {
		if t.Upload != nil && t.Upload.Asset != "" {
			size += l.MaxAsset
		}
	}
	return size
}

// read reads the whole form, to its closing boundary, and returns what it asks for.
func (f *form) read(ctx context.Context) (request, error) {
	for n := 0; ; n++ {
		f.body.within(true)
		part, err := f.parts.NextPart()
		f.body.within(false)
		if err == io.EOF { // only the bare EOF is the closing boundary
			return f.req, f.finish()
		}
		if err != nil && f.body.over {
			return f.req, fail(codePartHeader, "A part of the form has a header of more than %d bytes.", maxPartHeader)
		}
		if err != nil && n == 0 && isEOF(err) {
			return f.req, fail(codeUploadMalformed, "The body does not have the boundary that Content-Type names.")
		}
		if err != nil {
			return f.req, f.broken(err)
		}
		if n == maxParts {
			return f.req, fail(codeUploadMalformed, "The form has more than %d parts.", maxParts)
		}
		if err := f.take(ctx, part); err != nil {
			if f.unread != nil { // and not the error that the store made of it
				err = f.broken(f.unread)
			}
			return f.req, err
		}
	}
}

// finish reads what follows the closing boundary. It has no meaning (RFC 2046, 5.1.1), and must be short.
func (f *form) finish() error {
	n, err := io.CopyN(io.Discard, f.body, maxEpilogue+1)
	switch {
	case n > maxEpilogue:
		return fail(codeUploadMalformed, "The body continues after the end of the form.")
	case !isEOF(err):
		return err
	}
	return nil
}

// broken explains why a form cannot be read to its end: the connection was cut, or the form is malformed.
func (f *form) broken(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || isEOF(err) {
		return fail(codeUploadBroken, "The body ended before the form did.").because(err)
	}
	return fail(codeUploadMalformed, "The form cannot be read: %.200s.", printable(err.Error()))
}

// isEOF reports whether err is the end of a body. An end that comes too early wraps io.EOF in multipart.
func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// take reads one part.
func (f *form) take(ctx context.Context, part *multipart.Part) error {
	name := part.FormName()
	asset := part.FileName() != "" && f.in.takesFile(name)
	id := name
	if asset {
		id = "file of " + name // parameters may come beside it
	}
	if f.seen[id] {
		return f.in.fail(name, codeFieldRepeated, "The form has the field %.40q twice.", name)
	}
	f.seen[id] = true
	body, filename := &partReader{part, f}, unescaped.Replace(part.FileName())
	switch {
	case name == "file":
		return f.takeSource(ctx, filename, body)
	case asset:
		return f.in.storeAsset(ctx, name, filename, body)
	case name == "":
		return failAt("/form", codeFieldUnknown, "A part of the form has no name; the known ones are %s.",
			strings.Join(f.in.fields(), ", "))
	case !f.in.known(name):
		return f.in.unknown(name)
	}
	return f.takeText(name, body)
}

// unescaped undoes what browsers and curl do to a file name in a form
// (https://html.spec.whatwg.org/#multipart-form-data). Line ends are dropped, like all controls.
var unescaped = strings.NewReplacer("%22", `"`, "%0D", "", "%0A", "")

// partReader reads a part, and keeps the error that ended it early.
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

// takeSource stores the video. Fields that came before it are checked first, so that a mistake costs no
// upload.
func (f *form) takeSource(ctx context.Context, filename string, body io.Reader) error {
	if err := f.in.check(f.req); err != nil {
		return err
	}
	return f.in.storeSource(ctx, filename, body)
}

// takeText reads a field that is text.
func (f *form) takeText(name string, body io.Reader) error {
	text, err := io.ReadAll(&cappedReader{r: body, left: f.in.limit(name), over: f.in.tooLong(name)})
	if err != nil {
		return err
	}
	return f.in.parse(&f.req, name, text)
}

// printable removes everything but printable characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
}
