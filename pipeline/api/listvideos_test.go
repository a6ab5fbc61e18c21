package api

import (
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/reelmill/reelmill/pipeline"
)

// library is four videos: two of acme, of which one is ready, one in Japanese and one without texts.
func library(t *testing.T) (e *env, ids map[string]string) {
	t.Helper()
	e, ids = newEnv(t, nil), map[string]string{}
	for name, fields := range map[string][]part{
		"ready": {field("title", `The "Big" Cat`), field("metadata", `{"tenant":"acme","a[b]":"x=y&z"}`)},
		"cats":  {field("title", "cats, 100% cats"), field("metadata", `{"tenant":"acme"}`)},
		"neko":  {field("passthrough", "猫の動画"), field("metadata", `{"tenant":""}`)},
		"plain": nil,
	} {
		resp, raw := e.post(append(fields, file(name+".MP4", name)))
		if resp.StatusCode != 201 {
			t.Fatalf("%s: %s", resp.Status, raw)
		}
		ids[name] = decode[pipeline.VideoView](t, raw).ID
	}
	e.finished(ids["ready"])
	return e, ids
}

func TestListVideosByFilters(t *testing.T) {
	e, ids := library(t)
	for query, want := range map[string][]string{
		"":                                      {"ready", "cats", "neko", "plain"},
		"status=ready":                          {"ready"},
		"status=ready,queued":                   {"ready", "cats", "neko", "plain"},
		"status=errored,canceled":               {},
		"q=cat":                                 {"ready", "cats"},
		"q=CAT+big":                             {"ready"},
		"q=100%25":                              {"cats"},
		"q=%22big%22":                           {"ready"},
		"q=_":                                   {},
		"q=plain.mp4":                           {"plain"},
		"q=" + url.QueryEscape("猫"):             {"neko"},
		"q=" + url.QueryEscape("動画"):            {"neko"},
		"metadata[tenant]=acme":                 {"ready", "cats"},
		"metadata%5Btenant%5D=":                 {"neko"},
		"metadata[a[b]]=x%3Dy%26z":              {"ready"},
		"metadata[tenant]=acme&metadata[a[b]]=": {},
		"metadata[tenant]=acme&q=100&status=queued":  {"cats"},
		"created_after=2020-01-01T00:00:00Z":         {"ready", "cats", "neko", "plain"},
		"created_before=2020-01-01T00:00:00%2B02:00": {},
	} {
		got := []string{}
		for _, v := range read[videoList](e, "/v1/videos?"+query).Data {
			for name, id := range ids {
				if id == v.ID {
					got = append(got, name)
				}
			}
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

func TestListVideosInBothDirections(t *testing.T) {
	e, ids := library(t)
	down, up := []string{}, []string{}
	for _, v := range read[videoList](e, "/v1/videos").Data {
		down = append(down, v.ID)
	}
	var last videoList
	for path := "/v1/videos?order=created_at&limit=3"; ; {
		last = read[videoList](e, path)
		for _, v := range last.Data {
			up = append(up, v.ID)
		}
		if !last.HasMore {
			break
		}
		if last.PrevCursor != nil {
			t.Error("there is a page before the first")
		}
		path = "/v1/videos?order=created_at&limit=3&cursor=" + *last.NextCursor
	}
	slices.Reverse(down)
	equal(t, "oldest first", up, down...)
	back := read[videoList](e, "/v1/videos?order=created_at&limit=3&cursor="+*last.PrevCursor)
	if len(back.Data) != 3 || back.Data[0].ID != down[0] || back.PrevCursor != nil || !back.HasMore {
		t.Errorf("back: %+v", back)
	}
	resp, raw := e.get("/v1/videos?limit=3&cursor=" + *last.PrevCursor)
	wantProblem(t, resp, raw, codeCursor)
	resp, raw = e.get("/v1/videos?order=created_at&q=x&cursor=" + *last.PrevCursor)
	wantProblem(t, resp, raw, codeCursor)
	if len(ids) != len(down) {
		t.Errorf("%d videos", len(down))
	}
}

func TestListVideosWithCounts(t *testing.T) {
	e, _ := library(t)
	if l := read[videoList](e, "/v1/videos"); l.Counts != nil {
		t.Errorf("unasked: %v", l.Counts)
	}
	want := map[pipeline.VideoState]int{}
	for _, s := range pipeline.VideoStates() {
		want[s] = 0
	}
	for query, counts := range map[string]map[pipeline.VideoState]int{
		"": {"ready": 1, "queued": 3},
		"&metadata[tenant]=acme&status=ready&limit=1": {"ready": 1, "queued": 1},
	} {
		all := maps.Clone(want)
		maps.Copy(all, counts)
		if diff := cmp.Diff(all, read[videoList](e, "/v1/videos?counts=true"+query).Counts); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}

// TestEveryMistakeOfAQueryIsNamed: a client learns of all of them at once.
func TestEveryMistakeOfAQueryIsNamed(t *testing.T) {
	e := newEnv(t, nil)
	for query, want := range map[string][]string{
		"limit=0&status=done,reddy&created_after=x":                              {"/query/created_after", "/query/limit", "/query/status", "/query/status"},
		"lmit=1&curser=2&limit=1&limit=2":                                        {"/query/curser", "/query/limit", "/query/lmit"},
		"created_after=2026-01-02T00:00:00Z&created_before=2026-01-01T00:00:00Z": {"/query/created_before"},
		"q=%ff": {"/query/q"},
	} {
		resp, raw := e.get("/v1/videos?" + query)
		var got []string
		for _, f := range wantProblem(t, resp, raw, codeInvalid).Errors {
			got = append(got, f.Pointer)
			if f.Detail == "" || f.Code != string(codeInvalid) {
				t.Errorf("%s: %+v", query, f)
			}
		}
		slices.Sort(got)
		equal(t, query, got, want...)
	}
	pairs := url.Values{}
	for i := range maxPairs + 1 {
		pairs.Set("metadata["+time.Duration(i).String()+"]", "v")
	}
	resp, raw := e.get("/v1/videos?" + pairs.Encode())
	wantProblem(t, resp, raw, codeInvalid)
}
