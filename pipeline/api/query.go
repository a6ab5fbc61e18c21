package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/reelmill/reelmill/pipeline"
)

// checkQuery refuses a query that cannot be read, and parameters that are unknown or appear twice. A client
// that sends one expects it to count, and would not learn that it was ignored.
func checkQuery(u *url.URL, known ...string) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return failAt("/query", codeInvalid, "The query cannot be read: %.100s.", printable(err.Error()))
	}
	var wrong []*failure
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch at := pointer("query", name); {
		case !isKnown(name, known):
			wrong = append(wrong, failAt(at, codeInvalid, "%s.", sentence(pipeline.Unknown("parameter", name, known))))
		case len(q[name]) > 1:
			wrong = append(wrong, failAt(at, codeInvalid, "The parameter %.64s appears twice; send it once.",
				printable(name)))
		}
	}
	return failAll(wrong)
}

// anyMember ends the name of a parameter that is an object: metadata[key] stands for all its members.
const anyMember = "[key]"

// isKnown reports whether a parameter is one of known.
func isKnown(name string, known []string) bool {
	return slices.ContainsFunc(known, func(k string) bool {
		object, whole := strings.CutSuffix(k, anyMember)
		if !whole {
			return name == k
		}
		_, member := memberOf(name, object)
		return member
	})
}

// checkQueries is checkQuery for the operations of /v1. Health accepts any query: a load balancer that sends
// its own, such as ?verbose, would take a refusal for a sick server.
func (s *server) checkQueries(ctx huma.Context, next func(huma.Context)) {
	if !strings.HasPrefix(ctx.Operation().Path, "/v1/") {
		next(ctx)
		return
	}
	var known []string
	for _, p := range ctx.Operation().Parameters {
		if p.In != "query" {
			continue
		}
		if p.Style == "deepObject" {
			known = append(known, p.Name+anyMember)
			continue
		}
		known = append(known, p.Name)
	}
	u := ctx.URL()
	if err := checkQuery(&u, known...); err != nil {
		r, w := humago.Unwrap(ctx)
		s.refuse(w, r, err)
		return
	}
	next(ctx)
}

// checkedQuery is checkQuery for a handler that is not huma's.
func (s *server) checkedQuery(do http.HandlerFunc, known ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := checkQuery(r.URL, known...); err != nil {
			s.refuse(w, r, err)
			return
		}
		do(w, r)
	}
}

// pointer returns a JSON pointer (RFC 6901) to a part of a request. The name may be anything that a client
// sent.
func pointer(part, name string) string {
	if len(name) > maxPointer {
		name = name[:maxPointer]
	}
	return "/" + part + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(strings.ToValidUTF8(name, ""))
}

// maxPointer bounds how much of a client's name is repeated, in bytes.
const maxPointer = 64
