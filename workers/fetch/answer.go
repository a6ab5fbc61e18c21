package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/workers/internal/outbound"
)

// judge reads the header of an answer. When it returns nil, the body continues or begins the file. ranged
// says that the request was for the rest of the file.
func (d *download) judge(answer *http.Response, ranged bool) error {
	switch status := answer.StatusCode; {
	case status == http.StatusPartialContent && ranged:
		if !d.continues(answer) {
			return d.anew("the server sent another part than the one asked for, or of another file")
		}
		return nil
	case status == http.StatusRequestedRangeNotSatisfiable && ranged:
		return d.anew("the file became smaller while it was fetched")
	case status == http.StatusOK:
		return d.begins(answer)
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly,
		status == http.StatusTooManyRequests, status >= http.StatusInternalServerError:
		return brokenError{answered(answer), retryAfter(answer.Header.Get("Retry-After"), time.Now())}
	}
	return pipeline.Fail(pipeline.CodeFetchRefused, "%s", answered(answer))
}

// anew makes the file empty, and returns the error with which the next request asks for all of it.
func (d *download) anew(reason string) error {
	if err := d.begin(); err != nil {
		return err
	}
	return brokenError{reason: reason}
}

// begins takes the header of a whole file.
func (d *download) begins(answer *http.Response) error {
	if err := d.begin(); err != nil {
		return err
	}
	if err := plain(answer.Header.Get("Content-Encoding")); err != nil {
		return err
	}
	d.total, d.validator = answer.ContentLength, strong(answer.Header)
	d.mediaType, d.disposition = answer.Header.Get("Content-Type"), answer.Header.Get("Content-Disposition")
	if limit := d.from.MaxBytes; limit > 0 && d.total > limit {
		return d.tooLarge()
	}
	return nil
}

// continues reports whether a partial answer is the rest of the file that was begun. A server that ignores
// If-Range sends the rest of another file: its ETag, its date or its size tell. An ETag must be repeated (RFC
// 9110, 15.3.7), a date need not.
func (d *download) continues(answer *http.Response) bool {
	h := answer.Header
	first, total, ok := contentRange(h.Get("Content-Range"))
	etag, modified := h.Get("ETag"), h.Get("Last-Modified")
	same := etag == d.validator
	if !strings.HasPrefix(d.validator, `"`) {
		same = modified == "" || modified == d.validator
	}
	if !ok || !same || first != d.got || d.total >= 0 && total != d.total ||
		plain(h.Get("Content-Encoding")) != nil {
		return false
	}
	d.total = total
	return true
}

// contentRanges matches the header of a part: its first byte, and the size of the whole.
var contentRanges = regexp.MustCompile(`^bytes (\d{1,18})-\d{1,18}/(\d{1,18})$`)

func contentRange(header string) (first, total int64, ok bool) {
	m := contentRanges.FindStringSubmatch(header)
	if m == nil {
		return 0, 0, false
	}
	first, _ = strconv.ParseInt(m[1], 10, 64) // 18 digits always fit
	total, _ = strconv.ParseInt(m[2], 10, 64)
	return first, total, true
}

// dateGap is how much older than the answer a date must be to be a strong validator: a file may change twice
// in a second, and clocks of servers and disks differ (RFC 9110, 8.8.2.2).
const dateGap = time.Minute

// strong returns the strong validator in a header; empty when there is none.
func strong(h http.Header) string {
	if etag := h.Get("ETag"); len(etag) > 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		return etag
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	sent, failed := http.ParseTime(h.Get("Date"))
	if err != nil || failed != nil || sent.Sub(modified) < dateGap {
		return ""
	}
	return h.Get("Last-Modified")
}

// plain refuses a compressed body: its parts cannot be continued, and a small one may become endless.
// aws-chunked is what some clients of S3 leave behind on plain files.
func plain(encoding string) error {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity", "aws-chunked":
		return nil
	}
	return pipeline.Fail(pipeline.CodeFetchRefused,
		"the server sent the file compressed (Content-Encoding), although it was asked not to")
}

// retryAfter returns how long a server asks to wait (RFC 9110, 10.2.3); 0 when it does not say.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// storeCode matches the code in the error of an object store such as S3.
var storeCode = regexp.MustCompile(`<Code>([A-Za-z]{1,64})</Code>`)

// answered says what a server answered instead of the file: the status, and the code of an object store. The
// rest of such an answer may repeat the signature of the URL.
func answered(answer *http.Response) string {
	text := fmt.Sprintf("the server answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	head, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10)) // what cannot be read has no code
	if m := storeCode.FindSubmatch(head); m != nil {
		text += fmt.Sprintf(" (%s)", m[1])
	}
	return strings.TrimSuffix(text, " ")
}

// unanswered returns the error of a request without an answer. The text never has the URL, which those of the
// HTTP client have.
func (d *download) unanswered(err error) error {
	if errors.As(err, new(outbound.RefusedError)) {
		return notPublic()
	}
	if redirect, ok := errors.AsType[outbound.RedirectError](err); ok {
		return pipeline.Fail(pipeline.CodeFetchRefused, "%s", redirect.Reason)
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return pipeline.Fail(pipeline.CodeFetchRefused, "the certificate of the server is not valid")
	}
	name, named := errors.AsType[*net.DNSError](err)
	op, dialled := errors.AsType[*net.OpError](err)
	var timed interface{ Timeout() bool }
	switch {
	case named && name.IsNotFound:
		return brokenError{reason: "the name of the server does not exist"}
	case named:
		return brokenError{reason: "the name of the server cannot be looked up"}
	case errors.As(err, &timed) && timed.Timeout():
		return brokenError{reason: "the server did not answer within " + d.config.Idle.String()}
	case dialled && op.Op == "dial":
		return brokenError{reason: "no connection to the server: " + op.Err.Error()}
	}
	return brokenError{reason: "the connection broke before the server answered"}
}

// sniffed is how many bytes tell a web page from a file.
const sniffed = 512

// look refuses a web page. It looks at the first bytes once they are there: some servers call any file HTML.
func (d *download) look() error {
	if d.paged {
		return nil
	}
	d.paged = true
	head := make([]byte, sniffed)
	n, err := d.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	found := http.DetectContentType(head[:n])
	said, _, _ := mime.ParseMediaType(d.mediaType) // what cannot be read says nothing
	html := said == "text/html" || said == "application/xhtml+xml"
	if strings.HasPrefix(found, "text/html") || html && strings.HasPrefix(found, "text/") {
		return pipeline.Fail(pipeline.CodeFetchPage, "the server sent a web page instead of a file")
	}
	return nil
}
