package api

import (
	"mime"
	"net/http"

	"github.com/reelmill/reelmill/pipeline"
)

// isFetch reports whether a request for a new video names a URL, in JSON, instead of sending a form.
func isFetch(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}

// fetchFields are the fields of the JSON of POST /v1/videos beside those of every request.
func fetchFields() []string { return []string{"url", "filename"} }

// takeFetch takes an upload whose source the server is to fetch from a URL.
func (s *server) takeFetch(w http.ResponseWriter, r *http.Request) (pipeline.Event, bool, error) {
	ctx := r.Context()
	in, err := newIntake(s.cfg, "body", projectOf(ctx), r.Header.Get("Idempotency-Key"),
		r.Header.Get("traceparent"))
	if err != nil {
		return pipeline.Event{}, false, err
	}
	order, err := in.readOrder(w, r, fetchFields())
	if err != nil {
		return pipeline.Event{}, false, err
	}
	if err := joinMistakes(in.checkOrder(order), in.checkFetchURL(order.url)); err != nil {
		return pipeline.Event{}, false, err
	}
	if err := s.admitNew(ctx); err != nil {
		return pipeline.Event{}, false, err
	}
	limit, err := s.leftToFetch(ctx)
	if err != nil {
		return pipeline.Event{}, false, err
	}
	in.fetch = &pipeline.Fetch{URL: order.url, MaxBytes: limit}
	if order.filename != "" {
		in.fetch.Filename = cleanFilename(order.filename)
	}
	return in.accept(ctx, order.req)
}

// checkFetchURL refuses an address from which nothing can be fetched. What a name leads to is checked when
// the worker dials it. No answer repeats more of the address than its host.
func (in *intake) checkFetchURL(address string) error {
	if address == "" {
		return in.fail("url", codeInvalid, "The request has no url.")
	}
	if err := in.cfg.CheckFetchURL(address); err != nil {
		return in.fail("url", codeFetchRefused, "%.300s.", sentence(printable(pipeline.ProblemOf(err).Detail)))
	}
	return nil
}
