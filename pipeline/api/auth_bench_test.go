package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/api/apitest"
)

// BenchmarkGetVideo is a GET /v1/videos/{id}, without the network: of a server that asks for no key, and of one
// that judges a key, with 1,000 others beside it.
func BenchmarkGetVideo(b *testing.B) {
	parts, book := apitest.Open(b), access.NewBook()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx, parts.Bus) }()
	b.Cleanup(func() { cancel(); must(b, <-done) })
	up, _, err := pipeline.Accept(b.Context(), parts.Bus, project, "vid_1", pipeline.Upload{Pipeline: pipeline.Default()}, "")
	must(b, err)
	must(b, parts.Catalog.WaitFor(b.Context(), up.Sequence))
	credential := ""
	for range 1000 {
		_, text, e, err := access.CreateKey(b.Context(), parts.Bus,
			access.NewKey{Project: project, Scopes: []access.Scope{access.Read}})
		must(b, err)
		must(b, book.WaitFor(b.Context(), e.Sequence))
		credential = text.Reveal()
	}
	for name, required := range map[string]bool{"open": false, "key": true} {
		h, err := New(Config{
			Store: parts.Store, Log: parts.Bus, Catalog: parts.Catalog, Planner: planner{}, Keys: book,
			CredentialsRequired: func(context.Context) (bool, error) { return required, nil },
			Limits:              Limits{MaxClientRate: 1 << 30},
		})
		must(b, err)
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/videos/vid_1", nil)
			r.Header.Set("Authorization", "Bearer "+credential)
			for b.Loop() {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("%d: %s", w.Code, w.Body)
				}
			}
		})
	}
}
