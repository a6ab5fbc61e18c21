package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/reelmill/reelmill/pipeline/access"
)

// need is what a request must have to reach the handler of a route: a scope, or one of the needs below.
type need = access.Scope

const (
	// open needs nothing: everybody may send the request.
	open need = "-"
	// byURL needs nothing but the URL, in which there is a token for one upload.
	byURL need = "url"
)

// needs says what each route needs, by its pattern in the mux. A server does not start with a route that
// has no row here, or with a row without a route that may exist.
var needs = map[string]need{
	"POST /v1/videos":                   access.Upload,
	"GET /v1/videos":                    access.Read,
	"GET /v1/videos/{id}":               access.Read,
	"PATCH /v1/videos/{id}":             access.Write,
	"DELETE /v1/videos/{id}":            access.Write,
	"GET /v1/videos/{id}/outputs":       access.Read,
	"POST /v1/videos/{id}/outputs":      access.Write,
	"GET /v1/videos/{id}/jobs":          access.Read,
	"GET /v1/videos/{id}/events":        access.Read,
	"GET /v1/videos/{id}/why":           access.Read,
	"POST /v1/videos/{id}/cancel":       access.Write,
	"POST /v1/videos/{id}/retry":        access.Write,
	"POST /v1/jobs/{video}/{job}/retry": access.Write,

	"GET /v1/videos/{id}/additions":                  access.Read,
	"GET /v1/videos/{id}/additions/{number}":         access.Read,
	"POST /v1/videos/{id}/additions/{number}/cancel": access.Write,

	"POST /v1/uploads":                access.Upload,
	"GET /v1/uploads":                 access.Read,
	"GET /v1/uploads/{id}":            access.Read,
	"POST /v1/uploads/{id}/cancel":    access.Write,
	"POST /v1/uploads/{id}/parts":     access.Upload,
	"GET /v1/uploads/{id}/parts":      access.Upload,
	"POST /v1/uploads/{id}/complete":  access.Upload,
	"PUT /v1/uploads/{token}/content": byURL,
	"POST /v1/tus":                    access.Upload,
	"POST /v1/tus/{$}":                access.Upload,
	"OPTIONS /v1/tus":                 open,
	"OPTIONS /v1/tus/{$}":             open,
	"HEAD /v1/tus/{token}":            byURL,
	"PATCH /v1/tus/{token}":           byURL,
	"DELETE /v1/tus/{token}":          byURL,
	"POST /v1/tus/{token}":            byURL,
	"OPTIONS /v1/tus/{token}":         open,

	"GET /v1/events":        access.Read,
	"GET /v1/events/stream": access.Read,
	"GET /v1/ws":            access.Read,
	"GET /v1/stats":         access.Read,
	"GET /v1/usage":         access.Read,
	"GET /v1/pipelines":     access.Read,
	"GET /v1/worker_types":  access.Read,

	// Queues belong to all projects.
	"GET /v1/queues":                access.Operate,
	"POST /v1/queues/{type}/pause":  access.Operate,
	"POST /v1/queues/{type}/resume": access.Operate,

	"GET /v1/dead_letters":               access.Admin,
	"GET /v1/dead_letters/{id}":          access.Admin,
	"POST /v1/dead_letters/{id}/redrive": access.Admin,
	"DELETE /v1/dead_letters/{id}":       access.Admin,

	"POST /v1/dead_letter_runs":             access.Admin,
	"GET /v1/dead_letter_runs":              access.Admin,
	"GET /v1/dead_letter_runs/{id}":         access.Admin,
	"POST /v1/dead_letter_runs/{id}/pause":  access.Admin,
	"POST /v1/dead_letter_runs/{id}/resume": access.Admin,
	"POST /v1/dead_letter_runs/{id}/cancel": access.Admin,

	"POST /v1/webhook_endpoints":                                      access.Admin,
	"GET /v1/webhook_endpoints":                                       access.Admin,
	"GET /v1/webhook_endpoints/{id}":                                  access.Admin,
	"PATCH /v1/webhook_endpoints/{id}":                                access.Admin,
	"DELETE /v1/webhook_endpoints/{id}":                               access.Admin,
	"POST /v1/webhook_endpoints/{id}/rotate_secret":                   access.Admin,
	"POST /v1/webhook_endpoints/{id}/test":                            access.Admin,
	"GET /v1/webhook_endpoints/{id}/deliveries":                       access.Admin,
	"GET /v1/webhook_endpoints/{id}/deliveries/{delivery}":            access.Admin,
	"POST /v1/webhook_endpoints/{id}/deliveries/{delivery}/redeliver": access.Admin,
	"POST /v1/webhook_endpoints/{id}/redeliver":                       access.Admin,

	"POST /v1/upload_tokens":           access.Upload,
	"POST /v1/videos/{id}/read_tokens": access.Read,

	"POST /v1/keys":             access.Admin,
	"GET /v1/keys":              access.Admin,
	"GET /v1/keys/{id}":         access.Admin,
	"POST /v1/keys/{id}/revoke": access.Admin,
	"POST /v1/projects":         access.Operate,

	"POST /v1/signing_keys":              access.Admin,
	"GET /v1/signing_keys":               access.Admin,
	"GET /v1/signing_keys/{id}":          access.Admin,
	"POST /v1/signing_keys/{id}/revoke":  access.Admin,
	"POST /v1/videos/{id}/playback_urls": access.Read,

	"GET /v1/projects":        access.Operate,
	"GET /v1/projects/{name}": access.Operate,

	"PATCH /v1/projects/{name}":  access.Operate,
	"DELETE /v1/projects/{name}": access.Operate,

	"GET /play/{id}/thumbnail.jpg":  open,
	"GET /play/{id}/thumbnail.webp": open,
	"GET /play/{id}/{path...}":      open,
	"OPTIONS /play/{id}/{path...}":  open,
	"GET /healthz":                  open,
	"GET /readyz":                   open,
	"GET /openapi.json":             open,
	"GET /asyncapi.json":            open,
	"GET /docs":                     open,
	"GET /docs/{$}":                 open,
	"GET /docs/style.css":           open,
	"GET /docs/errors":              open,
	"GET /docs/errors.json":         open,
}

// router is a mux that knows its patterns.
type router struct {
	*http.ServeMux
	patterns []string
}

func newRouter() *router { return &router{ServeMux: http.NewServeMux()} }

// HandleFunc adds a route.
func (m *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// check returns an error for a route of which needs does not say what it needs.
func (m *router) check() error {
	for _, p := range m.patterns {
		if n, ok := needs[p]; !ok || n != open && n != byURL && !slices.Contains(access.Scopes, n) {
			return fmt.Errorf("route %q: the table needs does not say who may use it", p)
		}
	}
	return nil
}

// The names of the schemes of credentials in the OpenAPI document.
const (
	securityName = "key"
	jwtName      = "jwt"
	uploadName   = "uploadToken"
	readName     = "readToken"
)

// describeSchemes describes the kinds of credentials.
func describeSchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{
		securityName: {
			Type: "http", Scheme: "bearer", Description: "An API key, rm_live_... It belongs to one project " +
				"and has scopes. A server on loopback without keys asks for none.",
		},
		jwtName: {
			Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "A token of the OpenID Connect " +
				"issuer that the server was started with (--oidc-issuer). Claims say its project and scopes.",
		},
		uploadName: {
			Type: "http", Scheme: "bearer", Description: "An upload token, rm_upload_..., with which a browser " +
				"makes one upload. POST /v1/upload_tokens makes one.",
		},
		readName: {
			Type: "apiKey", In: "query", Name: tokenIsIn, Description: "A read token, rm_read_..., with which a " +
				"browser follows one video. POST /v1/videos/{id}/read_tokens makes one. It may also come as Bearer.",
		},
	}
}

// scopeExtension holds the scope that an operation needs. A security requirement of OpenAPI can name scopes
// of OAuth 2 only, by the rules of Spectral.
const scopeExtension = "x-required-scope"

// describeNeed says what an operation needs.
func describeNeed(op *huma.Operation) {
	switch n := needOf(op.Method, op.Path); n {
	case open, byURL:
		op.Security = []map[string][]string{{}}
	default:
		op.Extensions = map[string]any{scopeExtension: string(n)}
		op.Description = strings.TrimSpace(
			op.Description + "\n\nThe credential needs the scope `" + string(n) + "`.")
		op.Security = []map[string][]string{{securityName: {}}, {jwtName: {}}}
		switch pattern := op.Method + " " + op.Path; {
		case op.Method == http.MethodPost && isCreation(op.Path):
			op.Security = append(op.Security, map[string][]string{uploadName: {}})
		case slices.Contains(readByToken, pattern):
			op.Security = append(op.Security, map[string][]string{readName: {}})
		}
		op.Security = append(op.Security, map[string][]string{})
	}
}

// needOf returns what the route of an operation needs. A HEAD without a row of its own is a GET.
func needOf(method, path string) need {
	for _, p := range []string{method + " " + path, http.MethodGet + " " + path, method + " " + path + "{$}"} {
		if n, ok := needs[p]; ok {
			return n
		}
	}
	if strings.HasPrefix(path, "/play/") {
		return open
	}
	return byURL
}
