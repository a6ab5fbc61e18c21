package client

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// UploadState is how far an upload is.
type UploadState string

// The states of an upload. The last four are its end.
const (
	UploadWaiting   UploadState = "waiting"   // the server keeps no byte yet
	UploadUploading UploadState = "uploading" // it keeps some, or all, and there is no video yet
	UploadCompleted UploadState = "completed" // the video exists
	UploadErrored   UploadState = "errored"   // no video can be made of it
	UploadCanceled  UploadState = "canceled"  // somebody stopped it
	UploadExpired   UploadState = "expired"   // no byte came for too long
)

// Ended reports whether the upload takes no more bytes.
func (s UploadState) Ended() bool { return s != UploadWaiting && s != UploadUploading }

// UploadView is an upload as the server describes it.
type UploadView struct {
	ID       string      `json:"id"`
	Status   UploadState `json:"status"`
	Video    string      `json:"video_id"` // the id that the video has once the upload is completed
	Filename string      `json:"filename"`
	Method   string      `json:"method"` // how the bytes come: tus or multipart
	Size     *int64      `json:"size"`   // bytes of the whole file; nil if the server does not know it yet
	Offset   int64       `json:"offset"` // bytes that the server keeps
	// PartSize is how many bytes each part has but the last; nil unless Method is multipart.
	PartSize *int64 `json:"part_size"`
	// URL takes the bytes by tus 1.0, and ContentURL by one PUT. They are secrets, and only in the answer to the
	// request that made the upload.
	URL        string `json:"url,omitempty"`
	ContentURL string `json:"content_url,omitempty"`
	// PartsURL answers the URLs of parts, and CompleteURL makes the video of them. They are secrets like URL,
	// and in its place when Method is multipart.
	PartsURL    string     `json:"parts_url,omitempty"`
	CompleteURL string     `json:"complete_url,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ExpiresAt   *time.Time `json:"expires_at"` // when it ends if no further byte comes; nil after its end
	EndedAt     *time.Time `json:"ended_at"`
	Problem     *struct {
		Code      string `json:"code"`
		Title     string `json:"title"`
		Detail    string `json:"detail"`
		Remedy    string `json:"remedy"`
		Retryable bool   `json:"retryable"`
	} `json:"error"` // why no video can be made of it; nil otherwise
}

// problem returns the error of an upload that has ended without a video.
func (v UploadView) problem() error {
	e := &Error{Status: http.StatusGone, Code: "upload_ended", Title: "The upload has ended"}
	e.Detail = "The upload " + v.ID + " is " + string(v.Status) + "."
	if p := v.Problem; p != nil {
		e.Status, e.Code, e.Title, e.Detail = http.StatusUnprocessableEntity, p.Code, p.Title, p.Detail
		e.Remedy, e.Retryable = p.Remedy, p.Retryable
	}
	return e
}

// order is the body of a request that makes an upload, or a video of a URL.
type order struct {
	URL         string            `json:"url,omitempty"`
	Filename    string            `json:"filename,omitempty"`
	Size        *int64            `json:"size,omitempty"` // nil: of a URL; 0 is refused
	Method      string            `json:"method,omitempty"`
	Pipeline    string            `json:"pipeline,omitempty"`
	Priority    pipeline.Priority `json:"priority,omitempty"`
	Title       string            `json:"title,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Passthrough string            `json:"passthrough,omitempty"`
	WebhookURL  string            `json:"webhook_url,omitempty"`
	Watermark   json.RawMessage   `json:"watermark,omitempty"` // a text, or an object

	PlaybackPolicy pipeline.PlaybackPolicy `json:"playback_policy,omitempty"`
}

// watermarkOf returns a watermark as a text, or as the object that it is; nil for none.
func watermarkOf(watermark string) (json.RawMessage, error) {
	switch {
	case watermark == "":
		return nil, nil
	case strings.HasPrefix(watermark, "text:"):
		return json.Marshal(watermark)
	case !json.Valid([]byte(watermark)):
		return nil, errors.New("upload: the watermark is not a JSON object")
	}
	return json.RawMessage(watermark), nil
}

// Uploads yields the uploads of the project, page after page. An error comes with the zero upload and ends
// it.
func (c *Client) Uploads(ctx context.Context) iter.Seq2[UploadView, error] {
	return pages[UploadView](ctx, c, "/v1/uploads", nil)
}

// UploadByID returns an upload. The server forgets one 24 hours after its end: pipeline.ErrNotFound.
func (c *Client) UploadByID(ctx context.Context, id string) (UploadView, error) {
	var v UploadView
	err := c.get(ctx, "/v1/uploads/"+url.PathEscape(id), nil, &v)
	return v, err
}

// CancelUpload stops an upload; the server removes its bytes. Canceling again is not an error. A completed
// upload is an *Error with code state_conflict: cancel its video.
func (c *Client) CancelUpload(ctx context.Context, id string) (UploadView, error) {
	var v UploadView
	err := c.do(ctx, http.MethodPost, "/v1/uploads/"+url.PathEscape(id)+"/cancel", nil, &v)
	return v, err
}
