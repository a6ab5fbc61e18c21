package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/reelmill/reelmill/pipeline/access"
)

// Limits of requests and uploads hold for this process: a client of a project never gets less than its limit,
// whichever process a balancer sends it to, and n processes together let at most n times the limit through.

// policy is one limit on requests, of a project or of a key.
type policy struct {
	name      string // in the headers: project or key
	of        string // whose it is
	perSecond int
	burst     int
}

// policies returns the limits that a request is subject to.
func (s *server) policies(project, key string, keyRate int) []policy {
	var all []policy
	if keyRate > 0 {
		all = append(all, policy{"key", "key." + key, keyRate, 2 * keyRate})
	}
	if l := s.limitsOf(project); l.RequestsPerSecond > 0 {
		all = append(all, policy{"project", "project." + project, l.RequestsPerSecond, l.Burst()})
	}
	return all
}

// limitsOf returns the limits of a project as far as this process has heard.
func (s *server) limitsOf(project string) access.Limits {
	if s.cfg.Quotas == nil || s.cfg.Quotas.Known == nil {
		return access.Limits{}
	}
	return s.cfg.Quotas.Known(project)
}

// limitGrant is limitRate for a request that has its grant. The bytes of uploads, whose URL is their
// credential, do not count: clients of tus take 429 for the end of the upload.
func (s *server) limitGrant(h http.Header, r *http.Request) error {
	g := grantOf(r.Context())
	if g.Project == "" || g.Bound.Upload != "" {
		return nil
	}
	return s.limitRate(h, projectOf(r.Context()), g.Key, g.RequestsPerSecond)
}

// limitRate counts a request against the limits of its key and project, and says in the answer how they
// stand. The headers are those of draft-ietf-httpapi-ratelimit-headers-10: RateLimit-Policy has the quota q
// in a window of w seconds, which is the burst and the time in which it is full again; RateLimit has the
// requests r that are left, and the seconds t until it is full again.
func (s *server) limitRate(h http.Header, project, key string, keyRate int) error {
	var rules, states []string
	var refused *policy
	for _, p := range s.policies(project, key, keyRate) {
		ok, left := s.projectRates.allow(p)
		full := math.Ceil((float64(p.burst) - left) / float64(p.perSecond))
		rules = append(rules, fmt.Sprintf("%q;q=%d;w=%d", p.name, p.burst, (p.burst+p.perSecond-1)/p.perSecond))
		states = append(states, fmt.Sprintf("%q;r=%d;t=%.0f", p.name, int(left), full))
		if !ok {
			refused = &p
			break
		}
	}
	if len(rules) == 0 {
		return nil
	}
	h.Set("RateLimit-Policy", strings.Join(rules, ", "))
	h.Set("RateLimit", strings.Join(states, ", "))
	if refused == nil {
		return nil
	}
	f := fail(codeTooManyRequests, "The %s sends more than %d requests a second.", refused.name,
		refused.perSecond)
	f.remedy = "Wait for Retry-After seconds, and send fewer. The operator of the server can raise the limit."
	return f
}

// projectRates are the rates of projects and keys. Those that are idle take no memory.
type projectRates struct {
	now func() time.Time

	mu     sync.Mutex
	of     map[string]*rate.Limiter
	forgot time.Time // when idle ones were last looked for
}

func newProjectRates() *projectRates {
	return &projectRates{now: time.Now, of: map[string]*rate.Limiter{}}
}

// allow counts a request, and returns whether it may pass and how many more may at once.
func (r *projectRates) allow(p policy) (ok bool, left float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	r.forget(now)
	l := r.of[p.of]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(p.perSecond), p.burst)
		r.of[p.of] = l
	}
	if l.Limit() != rate.Limit(p.perSecond) || l.Burst() != p.burst { // the operator has changed it
		l.SetLimitAt(now, rate.Limit(p.perSecond))
		l.SetBurstAt(now, p.burst)
	}
	ok = l.AllowN(now, 1)
	return ok, max(0, l.TokensAt(now))
}

// forgetEvery is how often idle rates are looked for.
const forgetEvery = 10 * time.Second

// forget drops the rates that may send as much as new ones.
func (r *projectRates) forget(now time.Time) {
	if now.Sub(r.forgot) < forgetEvery {
		return
	}
	r.forgot = now
	for name, l := range r.of {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(r.of, name)
		}
	}
}

// projectGate limits how many requests of a project send bytes of uploads at once.
type projectGate struct {
	mu sync.Mutex
	of map[string]int
}

// enter returns a function that must be called at the end, or nil if there are limit already; 0: no limit.
func (g *projectGate) enter(project string, limit int) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if limit > 0 && g.of[project] >= limit {
		return nil
	}
	if g.of == nil {
		g.of = map[string]int{}
	}
	g.of[project]++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.of[project]--; g.of[project] == 0 {
			delete(g.of, project)
		}
	}
}

// enterUpload lets a request send bytes of an upload, unless too many do: of all, of its client, or of its
// project. The function that it returns must be called at the end.
func (s *server) enterUpload(ctx context.Context, r *http.Request) (leave func(), err error) {
	project := projectOf(ctx)
	limit := s.limitsOf(project).UploadsAtOnce
	leaveProject := s.projectUploads.enter(project, limit)
	if leaveProject == nil {
		return nil, fail(codeProjectUploads, "%d uploads of the project are under way, which is its limit.", limit)
	}
	leaveAll, own := s.uploads.enter(s.guard.clientOf(r))
	if leaveAll == nil {
		leaveProject()
		return nil, s.tooManyUploads(own)
	}
	return func() { leaveAll(); leaveProject() }, nil
}
