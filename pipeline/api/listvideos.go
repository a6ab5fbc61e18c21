package api

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/storage/catalog"
)

var opListVideos = huma.Operation{
	OperationID: "list-videos", Method: http.MethodGet, Path: "/v1/videos", Tags: []string{"videos"},
	Summary: "List videos, newest first",
	Description: "A video is listed when all filters fit. Pages are positions, not snapshots: while videos " +
		"are uploaded and deleted, each video that was there before the first page is still on one page. A " +
		"cursor belongs to its filters and order: with others it is refused (`cursor_invalid`).",
}

// maxPairs bounds how many keys of the metadata a list may ask for.
const maxPairs = 16

type listVideosInput struct {
	Limit         int               `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Videos on a page"`
	Cursor        string            `query:"cursor" maxLength:"512" doc:"The next_cursor or prev_cursor of another page"`
	Status        []string          `query:"status" enum:"queued,inspecting,processing,ready,errored,rejected,canceled" doc:"One status, or several with commas between: videos in any of them"`
	CreatedAfter  time.Time         `query:"created_after" doc:"Only videos of this time or later (RFC 3339)" example:"2026-11-26T18:00:00Z"`
	CreatedBefore time.Time         `query:"created_before" doc:"Only videos of before this time (RFC 3339)"`
	Metadata      map[string]string `query:"metadata,deepObject" doc:"metadata[key]=value: only videos whose metadata has this value for the key; up to 16 keys"`
	Q             string            `query:"q" maxLength:"256" doc:"Words, all of which the title, the file name or passthrough contain, in upper or lower case"`
	Order         string            `query:"order" enum:"created_at,-created_at" default:"-created_at" doc:"created_at: oldest first"`
	Counts        bool              `query:"counts" doc:"Whether the answer has counts"`
}

// Resolve implements huma.Resolver. It reads the metadata as it was sent: huma would cut keys that have
// brackets.
func (in *listVideosInput) Resolve(ctx huma.Context) []error {
	address := ctx.URL()
	in.Metadata = objectOf(&address, "metadata")
	return nil
}

// objectOf returns the members of an object in a query, such as metadata[key]=value.
func objectOf(u *url.URL, name string) map[string]string {
	members := map[string]string{}
	for parameter, values := range u.Query() {
		if key, ok := memberOf(parameter, name); ok {
			members[key] = values[0]
		}
	}
	return members
}

// memberOf returns the key in a parameter such as metadata[key].
func memberOf(parameter, object string) (key string, ok bool) {
	key, begins := strings.CutPrefix(parameter, object+"[")
	key, ends := strings.CutSuffix(key, "]")
	return key, begins && ends
}

// videoList is the body of a list of videos.
type videoList struct {
	list[pipeline.VideoView]
	PrevCursor *string                     `json:"prev_cursor" doc:"The cursor of the page before; null on the first page"`
	Counts     map[pipeline.VideoState]int `json:"counts,omitempty" doc:"With counts=true: how many videos fit the filters in each status, whatever the filter status says"`
}

type videosOutput struct{ Body videoList }

func (s *server) listVideos(ctx context.Context, in *listVideosInput) (*videosOutput, error) {
	q, err := in.query(projectOf(ctx))
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Catalog.Videos(ctx, q)
	if err != nil {
		return nil, err
	}
	for i := range page.Data {
		page.Data[i].AddURLs(s.cfg.PublicURL)
		s.addExpiry(&page.Data[i])
	}
	body := videoList{list: newList(page.Data, page.NextCursor)}
	if page.PrevCursor != "" {
		body.PrevCursor = &page.PrevCursor
	}
	if in.Counts {
		if body.Counts, err = s.cfg.Catalog.Counts(ctx, q); err != nil {
			return nil, err
		}
	}
	return &videosOutput{body}, nil
}

// query returns what the parameters select.
func (in *listVideosInput) query(project string) (catalog.Query, error) {
	q := catalog.Query{
		Project: project, Metadata: in.Metadata, Text: in.Q, CreatedAfter: in.CreatedAfter,
		CreatedBefore: in.CreatedBefore, Ascending: in.Order == "created_at", Limit: in.Limit, Cursor: in.Cursor,
	}
	for _, status := range in.Status {
		q.Statuses = append(q.Statuses, pipeline.VideoState(status))
	}
	switch {
	case len(in.Metadata) > maxPairs:
		return q, failAt("/query/metadata", codeInvalid,
			"The query asks for %d keys of the metadata; at most %d are allowed.", len(in.Metadata), maxPairs)
	case !utf8.ValidString(in.Q):
		return q, failAt("/query/q", codeInvalid, "The parameter q is not UTF-8.")
	case !in.CreatedAfter.IsZero() && !in.CreatedBefore.IsZero() && !in.CreatedAfter.Before(in.CreatedBefore):
		return q, failAt("/query/created_before", codeInvalid,
			"created_before is not later than created_after, so no video can fit.")
	}
	return q, nil
}
