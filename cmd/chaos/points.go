package main

import (
	"bufio"
	"os"
	"slices"
	"strings"
)

// Processes kill themselves before or after each of these effects. The names are those of
// cmd/reelmill/internal/node/faults_*.go.
var (
	workerEffects = []string{
		"append.job.started", "append.job.completed", "append.job.retrying", "append.job.errored",
		"append.job.interrupted", "schedule", "deadletter", "ack", "extend", "return", "store.put.output",
		"store.delete",
	}
	serverEffects = []string{
		"append.video.uploaded", "append.video.inspected", "append.video.playable", "append.video.ready",
		"append.video.errored", "append.video.rejected", "append.video.canceled", "append.video.deleted",
		"append.video.purged", "append.video.reopened", "append.job.canceled", "append.job.requeued",
		"enqueue.inspect", "enqueue.chaos", "enqueue.thumbnail", "enqueue.transcode", "enqueue.webhook",
		"withdraw", "store.put.source", "store.begin", "store.append", "store.finish", "store.delete", "apply",
		"handle.video.uploaded", "handle.video.inspected", "handle.job.completed", "handle.job.errored",
		"handle.video.ready", "handle.video.errored", "handle.video.rejected", "handle.video.canceled",
		"handle.video.deleted", "handle.video.purged",
	}
	// shutdownEffects are the effects of a worker that is asked to stop.
	shutdownEffects = []string{"append.job.interrupted", "return"}
)

// points chooses kill points and knows which were hit.
type points struct {
	h    *harness
	file string // where a process records a kill before it happens
}

// pointsOf returns all points of a role: worker, server, or both.
func pointsOf(role string) []string {
	var effects, all []string
	if role != "server" {
		effects = append(effects, workerEffects...)
	}
	if role != "worker" {
		effects = append(effects, serverEffects...)
	}
	slices.Sort(effects)
	for _, e := range slices.Compact(effects) {
		all = append(all, e+".before", e+".after")
	}
	return all
}

// draw returns points of a role, for a kill at the first that is reached. It prefers points that were never
// hit in this run.
func (p *points) draw(role string) []string {
	hit := p.hits()
	all := slices.DeleteFunc(pointsOf(role), atShutdown)
	if never := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return hit[n] > 0 }); len(never) > 0 {
		return never
	}
	p.h.mu.Lock()
	defer p.h.mu.Unlock()
	p.h.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(len(all), 5)]
}

// drawShutdown returns a point that only a process that is asked to stop can reach.
func (p *points) drawShutdown() []string {
	hit := p.hits()
	all := slices.DeleteFunc(pointsOf("worker"), func(n string) bool { return !atShutdown(n) })
	slices.SortStableFunc(all, func(a, b string) int { return hit[a] - hit[b] })
	return all[:1]
}

// hits returns how often processes killed themselves at each point.
func (p *points) hits() map[string]int {
	hits := map[string]int{}
	f, err := os.Open(p.file)
	if err != nil {
		return hits // none yet
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if point, ok := strings.CutPrefix(lines.Text(), "killed at "); ok {
			hits[point]++
		}
	}
	return hits
}

func (p *points) covered() int { return len(p.hits()) }

// kills returns how often a process killed itself.
func (p *points) kills() (n int) {
	for _, k := range p.hits() {
		n += k
	}
	return n
}

// atShutdown reports whether only a process that is asked to stop can reach a point.
func atShutdown(point string) bool {
	return slices.ContainsFunc(shutdownEffects, func(e string) bool { return strings.HasPrefix(point, e+".") })
}
