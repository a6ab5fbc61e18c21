package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/storage/catalog"
	"github.com/reelmill/reelmill/workers"
	"github.com/reelmill/reelmill/workers/all"
)

// readModel reads the whole catalog, and keeps it for the check of the log.
func (d *checkup) readModel(ctx context.Context) (string, error) {
	path := d.config.CatalogPath()
	model, err := catalog.Inspect(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is none yet; serve makes it from the event log", nil
	case errors.Is(err, fs.ErrPermission):
		return "", remedied{fmt.Errorf("%w (as %s)", err, user()), "let the user that runs ReelMill write " + path}
	case err != nil:
		return "", err
	}
	d.model = model
	if _, err := catalog.Verify(path); err != nil {
		return "", err
	}
	place, err := model.Place(ctx)
	return fmt.Sprintf("%s is intact, and has the events up to number %d", path, place.Sequence), err
}

// lookAtLog finds out what the log on a broker has lost, as serve does, and reads all of it. eventLog reports
// it.
func (d *checkup) lookAtLog(ctx context.Context, b *broker.Broker) error {
	log, err := bus.Attach(b.Conn, bus.Config{Logger: d.config.Logger})
	if err == nil {
		err = d.readLog(ctx, log)
	}
	d.logRead = err == nil
	switch {
	case err == nil:
		return nil
	case d.config.NATS.Embedded():
		place := broker.LogPlace(broker.Address{}, d.config.Data)
		return remedied{err, "try again; if it fails again, restore the log (" + place + ") from a backup"}
	}
	return remedied{err, "check that the NATS servers run and form one cluster"}
}

func (d *checkup) readLog(ctx context.Context, log *bus.Bus) (err error) {
	var model loss.ReadModel
	if d.model != nil {
		model = d.model
	}
	check := loss.NewCheck(log, model, broker.LogPlace(d.config.NATS, d.config.Data))
	d.extent, d.lost, err = check.Look(ctx)
	if err != nil || d.extent.Count == 0 {
		return err
	}
	read, err := log.Replay(ctx, d.extent.Last, func(context.Context, []pipeline.Event) error { return nil })
	if err != nil {
		return err
	}
	if d.unread, err = check.Unread(ctx, read); err != nil || len(d.unread) == 0 || d.model == nil {
		return err
	}
	held, err := d.model.Held(ctx, d.unread) // without those that it lacks already
	d.unread = loss.EventsOf(held)
	return err
}

// eventLog reports what the log has lost.
func (d *checkup) eventLog(context.Context) (string, error) {
	switch {
	case d.lost != nil:
		return "", remedied{d.lost, d.lost.Remedy()}
	case d.running:
		return "the running server checks it at /readyz; see address, below", nil
	case !d.logRead:
		return "", remedied{errors.New("it was not read, since the broker check failed"), "see broker, above"}
	case len(d.unread) > 0:
		return "", remedied{fmt.Errorf("it has %s that cannot be read; a rebuilt read model would lack them",
			loss.EventsText(d.unread)), loss.Remedy(broker.LogPlace(d.config.NATS, d.config.Data))}
	case d.extent.Last == 0:
		return "there is none yet", nil
	}
	return fmt.Sprintf("it has %d %s, and has lost none%s", d.extent.Count,
		human.Plural(int(d.extent.Count), "event"), loss.GoneText(d.extent)), nil
}

// store puts, reads and deletes an object in the store that serve would use.
func (d *checkup) store(ctx context.Context) (string, error) {
	n := d.config
	dir := n.StoreFolder()
	if dir == "" {
		err := node.ProbeStore(ctx, n.Config)
		if err != nil {
			err = remedied{err, "make the bucket; or correct --store, its endpoint and region; or correct " +
				"REELMILL_S3_ACCESS_KEY and REELMILL_S3_SECRET_KEY and their rights"}
		}
		return "an object was put, read and deleted in " + n.Store, err
	}
	remedy := "let the user that runs ReelMill write the folder, or name another with --store"
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		if err := node.ProbeStore(ctx, n.Config); err != nil {
			return "", remedied{fmt.Errorf("%w (as %s)", err, user()), remedy}
		}
		return "an object was put, read and deleted in " + dir, nil
	}
	err := d.inScratch(existing(dir), func(temp string) error {
		return node.ProbeStore(ctx, node.Config{Store: temp, Logger: n.Logger})
	})
	if err != nil {
		return "", remedied{err, remedy}
	}
	return dir + " does not exist yet, and can be made", nil
}

// versions reports the version of ffmpeg. An old one is a warning, since serve starts with it.
func (d *checkup) versions(ctx context.Context) (string, error) {
	known := all.Programs(ctx, d.programs)
	if len(known) == 0 {
		return "", errors.New(
			"neither ffmpeg nor ffprobe says its version: they are not in PATH, or do not start")
	}
	var told []string
	for _, p := range known {
		text := p.Name + " " + p.Version
		if p.Note != "" {
			text += ": " + p.Note
		}
		if p.Old {
			return "", remedied{caution(text), p.Remedy}
		}
		told = append(told, text)
	}
	return strings.Join(told, ", "), nil
}

// openCage builds the cage that serve would run ffmpeg in. All further checks run ffmpeg there, so that it is
// asked once what version it is.
func (d *checkup) openCage(ctx context.Context) {
	d.programs.Cage, d.noCage = all.NewCage(ctx, d.config.Sandbox, d.programs)
}

// sandbox reports the cage. None, or one that lacks a part, is a warning, since serve starts with it.
func (d *checkup) sandbox(context.Context) (string, error) {
	if d.noCage != nil {
		return "", d.noCage
	}
	cage := d.programs.Cage
	switch cage.Tier() {
	case all.TierOff:
		remedy := "leave out --sandbox off, on Linux"
		if d.config.Sandbox != string(all.TierOff) {
			remedy = "use a machine that has what is missing, and --sandbox required, which does not start without"
		}
		return "", remedied{
			caution(cage.String() + ": nothing guards against a video that takes over ffmpeg. It could read and " +
				"change all that this user may, also secrets and other videos, start programs, and use the network"),
			remedy,
		}
	case all.TierPartial:
		return "", remedied{
			caution(cage.String()), "SECURITY.md says what each part guards, and which kernels have it",
		}
	}
	return cage.String(), nil
}

// registry makes the workers of serve. It fails only when programs are missing.
func (d *checkup) registry() (*workers.Registry, error) {
	r, err := all.New(d.programs)
	if err != nil {
		return nil, remedied{err, "install ffmpeg and ffprobe, and check that they are in PATH"}
	}
	return r, nil
}

// workers checks that each worker type has the programs that it needs.
func (d *checkup) workers(ctx context.Context) (string, error) {
	r, err := d.registry()
	if err != nil {
		return "", err
	}
	var names []string
	missing := r.CheckMachine(ctx)
	for _, t := range r.Types() {
		names = append(names, t.Name)
		if missing[t.Name] != nil {
			err = errors.Join(err, fmt.Errorf("worker %s: %w", t.Name, missing[t.Name]))
		}
	}
	return strings.Join(names, ", ") + " have what they need", err
}

// descriptors checks that a server may open enough files, by the rule of serve.
func (d *checkup) descriptors(context.Context) (string, error) {
	var r *workers.Registry
	if d.config.RunJobs {
		var err error
		if r, err = d.registry(); err != nil {
			return "", err
		}
	}
	found, err := node.CheckDescriptors(r, d.config.Slots)
	if err != nil {
		return "", remedied{err, found.Remedy()}
	}
	return found.String(), nil
}

// configuration checks flags and pipelines as serve does.
func (d *checkup) configuration(context.Context) (string, error) {
	r, err := d.registry()
	if err != nil {
		return "", err
	}
	known := map[string]bool{}
	for _, t := range r.Types() {
		known[t.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(d.config.Slots)) {
		if !known[name] {
			types := slices.Collect(maps.Keys(known))
			return "", errors.New("--slots: " + pipeline.Unknown("worker type", name, types))
		}
	}
	pipelines, err := d.config.Pipelines(r)
	if err != nil {
		return "", err
	}
	return "pipelines: " + strings.Join(slices.Sorted(maps.Keys(pipelines)), ", "), nil
}

// address opens the address of the API, unless the running server has it.
func (d *checkup) address(ctx context.Context) (string, error) {
	l, url, err := node.Listen(ctx, d.flags.Listen)
	if err != nil {
		return d.taken(ctx, err)
	}
	err = l.Close()
	if d.flags.authFor(l.Addr().String()) == node.AuthRequired {
		url += ", which asks for API keys,"
	}
	return url + " is free", err
}

// taken reports whether the server on the data folder has the address.
func (d *checkup) taken(ctx context.Context, err error) (string, error) {
	host, port, split := net.SplitHostPort(d.flags.Listen)
	if !d.running || split != nil {
		return "", err
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	cert, certErr := d.flags.openCertificate()
	if certErr != nil {
		return "", certErr
	}
	client, url := ownClient(cert, "http://"+net.JoinHostPort(host, port))
	if ok, asked := probe(ctx, client, url+"/healthz"); asked != nil || !ok {
		return "", errors.Join(err, asked)
	}
	return "the running server answers at " + url, notReady(ctx, client, url)
}

// notReady returns why a server is not ready, from its /readyz; nil when it is ready.
func notReady(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/readyz", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var said struct{ Checks map[string]string }
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || answer.StatusCode == http.StatusOK {
		return err
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(said.Checks)) {
		if said.Checks[name] != "ok" {
			wrong = append(wrong, name+": "+said.Checks[name])
		}
	}
	return remedied{
		fmt.Errorf("the server at %s is not ready: %s", url, strings.Join(wrong, "; ")),
		"read its checks and the log of the server",
	}
}

// clock refuses a clock that is years behind.
func (d *checkup) clock(context.Context) (string, error) {
	now := pipeline.Clock(time.Now())
	if time.Now().Year() < 2025 {
		return "", fmt.Errorf("it says %s", now)
	}
	return now, nil
}

// existing returns dir, or the nearest folder above it that exists.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == "/" || dir == "." {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
