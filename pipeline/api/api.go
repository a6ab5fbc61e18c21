package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/live"
	"github.com/reelmill/reelmill/storage"
)

// server answers the requests of one handler.
type server struct {
	cfg      Config
	mux      *router
	api      huma.API
	openapi  []byte
	asyncapi []byte
	pages    pages
	guard    *guard
	uploads  *gate     // of uploads under way
	streams  *streams  // subscribers to events
	stills   *stills   // makes thumbnails that are asked for
	hub      *live.Hub // hands out events
	rates    *rates    // of requests
	proxies  sync.Once // warns of a proxy that nobody named

	projectRates   *projectRates // of requests of projects and keys
	projectUploads projectGate   // of requests that send bytes

	// Uploads in pieces, if the store takes them.
	pieces        storage.Resumable
	parts         storage.MultipartPresigner // nil if the store has no multipart uploads
	locks         *uploadLocks
	waiting       waitingUploads
	tusd          http.Handler
	tusExtensions string
}

// New returns the handler of the whole API. It starts nothing; call Run besides. Any number of servers may
// use the handler; one made by Server ends its event streams when it is shut down.
func New(cfg Config) (*Handler, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("api config: %w", err)
	}
	cfg = cfg.withDefaults()
	guard, err := newGuard(cfg.Access, cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("api config: %w", err)
	}
	s := &server{
		cfg: cfg, mux: newRouter(), guard: guard,
		uploads: newGate(cfg.Limits.MaxOpenUploads, cfg.Limits.MaxClientUploads),
		streams: newStreams(cfg.Limits),
		rates:   newRates(cfg.Limits.MaxClientRate),

		projectRates: newProjectRates(),
		locks:        newUploadLocks(),
		stills:       newStills(cfg),
	}
	s.hub = live.NewHub(live.Config{
		Source: cfg.Catalog, Progress: cfg.Progress, LogEnd: cfg.LogEnd, Buffer: cfg.Limits.StreamBuffer,
		Encode: func(e pipeline.Event) ([]byte, error) { return json.Marshal(shownEvent(e)) }, Logger: cfg.Logger,
	})
	s.pieces, _ = storage.As[storage.Resumable](cfg.Store)
	s.parts, _ = storage.As[storage.MultipartPresigner](cfg.Store)
	s.api = humago.New(s.mux, describe(cfg))
	s.api.UseMiddleware(s.checkQueries)
	s.routes()
	if err := s.routeUploads(); err != nil {
		return nil, err
	}
	if err := s.mux.check(); err != nil {
		return nil, err
	}
	if err := s.finishDescription(); err != nil {
		return nil, fmt.Errorf("describe the API: %w", err)
	}
	doc, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("encode OpenAPI document: %w", err)
	}
	s.openapi = doc
	if s.asyncapi, err = describeAsync(cfg); err != nil {
		return nil, fmt.Errorf("describe the events: %w", err)
	}
	if s.pages, err = s.makePages(); err != nil {
		return nil, fmt.Errorf("make the pages of documentation: %w", err)
	}
	s.api.OpenAPI().Paths[opGetVideo.Path].Patch.RequestBody.Required = false // changeVideo refuses an empty one
	return &Handler{s.edge(http.HandlerFunc(s.route)), s}, nil
}

// routes lists every route. Those of huma describe themselves; openapi.go describes the others, which
// stream.
func (s *server) routes() {
	s.mux.HandleFunc("POST /v1/videos", s.postVideo)
	handle(s, opListVideos, s.listVideos)
	handle(s, opGetVideo, s.getVideo)
	handle(s, opChangeVideo(), s.changeVideo)
	handle(s, opDeleteVideo, s.deleteVideo)
	handle(s, opListOutputs, s.listOutputs)
	s.routeAdditions()
	handle(s, opListJobs, s.listJobs)
	s.mux.HandleFunc("GET /v1/videos/{id}/events", s.checkedQuery(s.getEvents, "after", "cursor", "limit"))
	handle(s, opListAllEvents, s.listAllEvents)
	s.mux.HandleFunc("GET /v1/ws", s.checkedQuery(s.getWebSocket))
	s.mux.HandleFunc("GET /v1/events/stream", s.checkedQuery(s.streamEvents, "after", "type", "types", "video"))
	handle(s, opCancelVideo, s.cancelVideo)
	handle(s, opWhy, s.why)
	handle(s, opRetryVideo, s.retryVideo)
	handle(s, opRetryJob, s.retryJob)
	if s.cfg.DeadLetters != nil {
		handle(s, opListDeadLetters, s.listDeadLetters)
		handle(s, opGetDeadLetter, s.getDeadLetter)
		handle(s, opRedriveDeadLetter, s.redriveDeadLetter)
		handle(s, opDiscardDeadLetter, s.discardDeadLetter)
	}
	if s.cfg.Bulk != nil {
		handle(s, opCreateRun, s.createRun)
		handle(s, opListRuns, s.listRuns)
		handle(s, opGetRun, s.getRun)
		handle(s, opPauseRun, s.pauseRun)
		handle(s, opResumeRun, s.resumeRun)
		handle(s, opCancelRun, s.cancelRun)
	}
	if s.cfg.Queues != nil {
		handle(s, opListWorkerTypes, s.listWorkerTypes)
		handle(s, opListQueues, s.listQueues)
		handle(s, opPauseQueue, s.pauseQueue)
		handle(s, opResumeQueue, s.resumeQueue)
	}
	if s.cfg.Stats != nil {
		handle(s, opStats, s.stats)
	}
	if s.cfg.Quotas != nil {
		handle(s, opUsage, s.usage)
	}
	s.routeWebhooks()
	s.routeKeys()
	s.routeProjects()
	s.routeTokens()
	s.routeSigningKeys()
	handle(s, opPlaybackURLs, s.makePlaybackURLs)
	handle(s, opListPipelines, s.listPipelines)
	s.mux.HandleFunc("GET /play/{id}/{path...}", s.play)
	s.mux.HandleFunc("OPTIONS /play/{id}/{path...}", s.playPreflight)
	s.routeThumbnails()
	handle(s, opHealth, s.health)
	handle(s, opReady, s.ready)
	s.mux.HandleFunc("GET /openapi.json", s.getOpenAPI)
	s.mux.HandleFunc("GET /asyncapi.json", s.getAsyncAPI)
	s.mux.HandleFunc("GET /docs", s.getDocs)
	s.mux.HandleFunc("GET /docs/errors", s.getErrors)
	s.mux.HandleFunc("GET /docs/errors.json", s.getErrorList)
	s.routeDocs()
}

// handle registers an operation, and turns its errors into problem documents.
func handle[I, O any](s *server, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// route answers a request that may have its route. One that has no route gets a problem document.
func (s *server) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.mux.Handler(r)
	r, err := s.authorize(r, pattern)
	if err == nil {
		err = s.limitGrant(w.Header(), r)
	}
	if err != nil {
		s.refuseUnread(w, r, err)
		return
	}
	if pattern != "" {
		s.idempotent(s.mux).ServeHTTP(w, r) // not h, which would lack the values in the path
		return
	}
	probe := &headerProbe{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		s.refuse(w, r, fail(codeMethod, "%s is not allowed here.", r.Method))
		return
	}
	s.refuse(w, r, fail(codeNotFound, "There is nothing at this address; /docs and /openapi.json describe "+
		"the API."))
}

// headerProbe keeps the status and header that the mux would answer.
type headerProbe struct {
	header http.Header
	status int
}

// Header returns the header that the mux changes.
func (p *headerProbe) Header() http.Header { return p.header }

// Write drops the body.
func (p *headerProbe) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader keeps the status.
func (p *headerProbe) WriteHeader(status int) { p.status = status }

// project returns whose request it is.
func (s *server) project(r *http.Request) (string, error) {
	p, err := s.cfg.Project(r)
	if err != nil {
		if f := classify(err); f.code == codeNotFound {
			return "", f
		}
		return "", fail(codeUnauthorized, "The request has no project.").because(err)
	}
	return p, nil
}

// caught waits briefly until the catalog has the event of sequence seq, and reports whether it has.
func (s *server) caught(ctx context.Context, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.ReadYourWrites)
	defer cancel()
	err := s.cfg.Catalog.WaitFor(ctx, seq)
	if err != nil {
		s.cfg.Logger.DebugContext(ctx, "catalog is late", "sequence", seq, "error", err)
	}
	return err == nil
}

// Bounds of a server made by Server.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Server returns an http.Server for h on addr, with bounds on headers and idle connections. Bodies and
// answers stream and may take any time; h, made by New, bounds how long each may stall. Shutdown ends event
// streams and waiting reads at once, and waits for uploads and playback.
func Server(addr string, h http.Handler) *http.Server {
	closing := make(chan struct{})
	srv := &http.Server{
		Addr: addr, Handler: h,
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnState: takenOver,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), closingKey{}, (<-chan struct{})(closing))
		},
	}
	srv.RegisterOnShutdown(func() { close(closing) })
	return srv
}

type closingKey struct{}

// closing returns a channel that is closed when the server of ctx begins to shut down; nil when Server did
// not make that server.
func closing(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(closingKey{}).(<-chan struct{})
	return c
}

// checkVideo returns ErrNotFound for an id that no video can have.
func checkVideo(id string) error {
	if !pipeline.ValidName(id) {
		return pipeline.ErrNotFound
	}
	return nil
}
