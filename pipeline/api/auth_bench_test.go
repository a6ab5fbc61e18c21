package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/api/apitest"
)

// BenchmarkGetVideo is a GET /v1/videos/{id}, without the network: of a server that asks for no key, and of one
// that judges a key, with 1,000 others beside it. Both take turns, so that a busy machine slows both: key/open
// is the ratio of the medians. At most 1.05 is promised.
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
	var handlers [2]*Handler
	for i, required := range []bool{false, true} {
		handlers[i], err = New(Config{
			Store: parts.Store, Log: parts.Bus, Catalog: parts.Catalog, Planner: planner{}, Keys: book,
			Uses:                access.NewUses(parts.Bus),
			CredentialsRequired: func(context.Context) (bool, error) { return required, nil },
			Limits:              Limits{MaxClientRate: 1 << 30},
		})
		must(b, err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/v1/videos/vid_1", nil)
	r.Header.Set("Authorization", "Bearer "+credential)
	var took [2][]time.Duration
	for b.Loop() {
		for i, h := range handlers {
			w := httptest.NewRecorder()
			began := time.Now()
			h.ServeHTTP(w, r)
			took[i] = append(took[i], time.Since(began))
			if w.Code != http.StatusOK {
				b.Fatalf("%d: %s", w.Code, w.Body)
			}
		}
	}
	for i := range took {
		slices.Sort(took[i])
	}
	plain, key := took[0][len(took[0])/2], took[1][len(took[1])/2]
	b.ReportMetric(float64(plain.Nanoseconds()), "open-ns")
	b.ReportMetric(float64(key.Nanoseconds()), "key-ns")
	b.ReportMetric(float64(key)/float64(plain), "key/open")
}
