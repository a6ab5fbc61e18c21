package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestListAllEvents: the events of all videos come in the order of the log, page by page and with filters. What
// comes after the position of a page is the rest, also when a video was deleted meanwhile.
func TestListAllEvents(t *testing.T) {
	e := newEnv(t, nil)
	one, other := e.uploaded().ID, e.uploaded().ID
	e.inspected(one)
	e.finished(one)
	page := func(query string) eventsPage {
		t.Helper()
		return read[eventsPage](e, "/v1/events"+query)
	}
	types := func(p eventsPage) string {
		var all []string
		for _, ev := range p.Data {
			all = append(all, string(ev.Type))
		}
		return strings.Join(all, " ")
	}
	const whole = "video.uploaded video.uploaded video.inspected video.ready"
	first := page("")
	if types(first) != whole || first.HasMore || first.NextCursor != nil || first.Position != 4 {
		t.Errorf("%s %+v", types(first), first)
	}
	var paged []string
	for query := "?limit=1"; ; {
		p := page(query)
		paged = append(paged, types(p))
		if !p.HasMore {
			break
		}
		query = "?limit=1&after=0&cursor=" + *p.NextCursor
	}
	if got := strings.Join(paged, " "); got != whole {
		t.Errorf("by page: %s", got)
	}
	if got := types(page("?video=" + one)); got != "video.uploaded video.inspected video.ready" {
		t.Errorf("of a video: %s", got)
	}
	if p := page("?types=video.ready,video.errored&after=1"); types(p) != "video.ready" || p.Position != 4 {
		t.Errorf("of two types: %s, %d", types(p), p.Position)
	}
	e.do("DELETE", "/v1/videos/"+other, nil)
	rest := page(fmt.Sprint("?after=", first.Position))
	if types(rest) != string(pipeline.VideoDeleted) || rest.Data[0].CorrelationID != other {
		t.Errorf("after the first page: %s", types(rest))
	}
	if p := page(fmt.Sprint("?after=", rest.Position)); len(p.Data) != 0 || p.Data == nil || p.Position != rest.Position {
		t.Errorf("after the rest: %+v", p)
	}
}

// TestListAllEventsRefuses: what is wrong with a query is named.
func TestListAllEventsRefuses(t *testing.T) {
	e := newEnv(t, nil)
	for query, words := range map[string]string{
		"types=video.redy": "video.ready", "after=-1": "/query/after", "cursor=x": "/query/cursor",
		"limit=0": "limit", "kinds=a": "types", "after=9223372036854775808": "/query/after",
	} {
		resp, raw := e.get("/v1/events?" + query)
		wantProblem(t, resp, raw, codeInvalid)
		if !strings.Contains(string(raw), words) {
			t.Errorf("%s: %s", query, raw)
		}
	}
}

// TestListAllEventsHidesWebhooks: an answer says only where the webhook of an upload leads.
func TestListAllEventsHidesWebhooks(t *testing.T) {
	e := newEnv(t, nil)
	e.tell(pipeline.VideoUploaded, pipeline.UploadedSubject(project, "vid_hook"), pipeline.Upload{
		Webhook: &pipeline.Webhook{URL: "https://hooks.example.com/token-of-mine"},
	})
	_, raw := e.get("/v1/events")
	if text := string(raw); strings.Contains(text, "token-of-mine") || !strings.Contains(text, "hooks.example.com") {
		t.Errorf("%s", raw)
	}
}

// TestListsOfEventsBeyondTheLog: a cursor beyond the log is refused, as in streams. Who asks again and again
// would otherwise wait for a log that was replaced, and miss all of the new one.
func TestListsOfEventsBeyondTheLog(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	for _, path := range []string{"/v1/events?after=2", "/v1/events?cursor=2", "/v1/videos/" + id + "/events?after=2"} {
		resp, raw := e.do("GET", path, nil, "Accept", "application/json")
		wantProblem(t, resp, raw, codeCursorAhead)
	}
	if p := read[eventsPage](e, "/v1/events?after=1"); len(p.Data) != 0 || p.Position != 1 {
		t.Errorf("at the end of the log: %+v", p)
	}
}
