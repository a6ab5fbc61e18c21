package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
)

// TestEventsSayWhoAsked: what a request without a credential does is anonymous, and an upload in pieces is by
// the token in its URL.
func TestEventsSayWhoAsked(t *testing.T) {
	e := newEnv(t, nil)
	id := e.uploaded().ID
	if resp, raw := e.do("DELETE", "/v1/videos/"+id, nil); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	resp, raw := e.do("POST", "/v1/uploads", strings.NewReader(`{"filename":"a.mp4","size":4}`),
		"Content-Type", "application/json")
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	up := decode[struct {
		ID  string `json:"id"`
		URL string `json:"content_url"`
	}](t, raw)
	if resp, raw := e.do("PUT", up.URL, strings.NewReader("meow")); resp.StatusCode != http.StatusCreated &&
		resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, raw)
	}
	actors := map[string]string{}
	for _, event := range read[list[pipeline.Event]](e, "/v1/events").Data {
		actors[string(event.Type)+" "+event.CorrelationID] = event.Actor
	}
	if actors["video.deleted "+id] != "anonymous" || len(actors) != 2 {
		t.Errorf("actors %v", actors)
	}
	for what, actor := range actors {
		if strings.HasPrefix(what, "video.uploaded ") && actor != "token:"+up.ID {
			t.Errorf("%s is by %s, want the token of %s", what, actor, up.ID)
		}
	}
}
