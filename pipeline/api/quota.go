package api

import (
	"context"
	"io"
	"math"

	"github.com/reelmill/reelmill/pipeline/quota"
)

// quotaStep is how many bytes an upload of unknown length takes from its project's bytes of the day at once.
// Each step is a write to the broker.
const quotaStep = 16 << 20

// exceeded is the failure for what a quota refuses.
func exceeded(e *quota.Exceeded) *failure {
	f := fail(codeQuotaExceeded, "%s.", sentence(e.Error()))
	f.quota = &e.Standing
	return f
}

// admitNew is admit for an upload that begins: it refuses one of a project that has used up a quota, too.
func (s *server) admitNew(ctx context.Context) error {
	if err := s.admit(ctx); err != nil || s.cfg.Quotas == nil {
		return err
	}
	return s.cfg.Quotas.Admit(ctx, projectOf(ctx))
}

// reserve takes the bytes of a new upload, if it says how many, from its project's bytes of the day.
func (s *server) reserve(ctx context.Context, d uploadDoc) (uploadDoc, error) {
	if s.cfg.Quotas == nil || d.Size == 0 {
		return d, nil
	}
	p, err := s.cfg.Quotas.Reserve(ctx, d.Project, d.Size, d.Size)
	if p.Day != "" {
		d.Reserved = &p
	}
	return d, err
}

// release gives back what was reserved for an upload and did not arrive.
func (s *server) release(ctx context.Context, d uploadDoc, arrived int64) {
	if s.cfg.Quotas != nil && d.Reserved != nil {
		s.cfg.Quotas.Release(ctx, d.Project, *d.Reserved, d.Reserved.Bytes-arrived)
	}
}

// leftToFetch returns how large a source may be that is fetched: the server's limit, or what the project may
// still upload today.
func (s *server) leftToFetch(ctx context.Context) (int64, error) {
	limit := s.cfg.Limits.MaxUpload
	if s.cfg.Quotas == nil {
		return limit, nil
	}
	left, err := s.cfg.Quotas.Left(ctx, projectOf(ctx))
	return max(1, min(limit, left)), err
}

// meter takes the bytes of an upload from its project's bytes of the day while they arrive, some in advance.
// A nil meter counts nothing.
type meter struct {
	keeper   *quota.Keeper
	project  string
	parts    []quota.Part
	reserved int64
	arrived  int64
}

// newMeter returns a meter for an upload whose length is not known; nil when there are no quotas.
func newMeter(keeper *quota.Keeper, project string) *meter {
	if keeper == nil {
		return nil
	}
	return &meter{keeper: keeper, project: project}
}

// take reserves bytes before they arrive: at least least, and up to most.
func (m *meter) take(ctx context.Context, least, most int64) error {
	if m == nil {
		return nil
	}
	p, err := m.keeper.Reserve(ctx, m.project, least, most)
	switch {
	case err != nil:
	case p.Day == "": // the project has no such quota
		m.reserved = math.MaxInt64
	default:
		m.parts, m.reserved = append(m.parts, p), m.reserved+p.Bytes
	}
	return err
}

// close gives back what did not arrive.
func (m *meter) close(ctx context.Context) {
	if m == nil {
		return
	}
	unused := m.reserved - m.arrived
	for i := len(m.parts) - 1; i >= 0 && unused > 0; i-- {
		m.keeper.Release(ctx, m.project, m.parts[i], unused)
		unused -= m.parts[i].Bytes
	}
}

// read returns r, metered.
func (m *meter) read(ctx context.Context, r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return &meteredReader{ctx, m, r}
}

// meteredReader ends with a failure where the quota does.
type meteredReader struct {
	ctx context.Context
	m   *meter
	r   io.Reader
}

// Read implements io.Reader. It passes on only what it has reserved.
func (r *meteredReader) Read(p []byte) (int, error) {
	if r.m.arrived == r.m.reserved && len(p) > 0 {
		var first [1]byte // so that a body which ends exactly at the limit is not refused
		n, err := r.r.Read(first[:])
		if n == 0 {
			return 0, err
		}
		if failed := r.m.take(r.ctx, 1, quotaStep); failed != nil {
			return 0, classify(failed)
		}
		r.m.arrived++
		p[0] = first[0]
		return 1, err
	}
	if left := r.m.reserved - r.m.arrived; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.r.Read(p)
	r.m.arrived += int64(n)
	return n, err
}
