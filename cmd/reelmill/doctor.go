package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/loss"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/bus"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/storage/catalog"
)

// doctorCommand checks what `serve` with the same flags, environment and configuration would use, as the same
// user. What it writes to do so it removes; it makes no folder, stream or read model, and changes none.
type doctorCommand struct {
	serveCommand
}

// Run prints a line for each check, what to do about one that failed, and fails when one did.
func (c doctorCommand) Run(ctx context.Context, s streams, set *settings, log *slog.Logger) error {
	secret, secretErr := keptSecret(c.WebhookSecret, c.Data)
	d := &checkup{
		out: s.out, flags: c.serveCommand, config: c.configWith(secret, set, log),
	}
	for _, one := range []struct {
		name   string
		do     func(context.Context) (string, error)
		remedy string
	}{
		{"data folder", d.dataFolder, "give the user that runs ReelMill the folder, or name another by --data"},
		{"disk", d.disk, "free space, or set what uploads leave free by --min-free"},
		{"read model", d.readModel, "see what it says; `reelmill rebuild` makes it anew from the event log"},
		{"broker", d.broker, "give the user that runs ReelMill the data folder, or name another by --data"},
		{"event log", d.eventLog, ""},
		{"store", d.store, ""},
		{"ffmpeg", d.versions, "install ffmpeg and ffprobe 5.1 or later"},
		{"workers", d.workers, "install what is missing; on Debian: apt-get install ffmpeg"},
		{"webhook secret", func(context.Context) (string, error) { return "it can be read, or made", secretErr },
			"let the user that runs ReelMill read " + secretPath(c.Data)},
		{"configuration", d.configuration, "correct the flag or the key of the configuration file"},
		{"address", d.address, "stop what has the address, or name another by --listen"},
		{"clock", d.clock, "set the clock, and keep it by NTP: ids, retries and signatures depend on it"},
	} {
		detail, err := one.do(ctx)
		d.report(one.name, detail, one.remedy, err)
	}
	if err := d.close(); err != nil {
		return err
	}
	if d.failures > 0 {
		return fmt.Errorf("%d %s failed", d.failures, human.Plural(d.failures, "check"))
	}
	return nil
}

// checkup is one run of the doctor.
type checkup struct {
	out      io.Writer
	flags    serveCommand
	config   node.ServerConfig
	running  bool                // a server has the data folder's broker
	model    *catalog.Inspection // nil: there is none that can be read
	extent   bus.Extent
	lost     *loss.Error
	unread   pipeline.Sequences // that the log has and cannot give
	logRead  bool               // extent and lost are of the log
	failures int
}

// remedied is an error that knows what to do about it.
type remedied struct {
	error
	remedy string
}

// Unwrap returns the error without its remedy.
func (r remedied) Unwrap() error { return r.error }

func (d *checkup) close() error {
	if d.model == nil {
		return nil
	}
	return d.model.Close()
}

func (d *checkup) report(name, detail, remedy string, err error) {
	if err == nil {
		fmt.Fprintf(d.out, "ok    %-15s %s\n", name, detail)
		return
	}
	d.failures++
	if r, ok := errors.AsType[remedied](err); ok {
		remedy = r.remedy
	}
	fmt.Fprintf(d.out, "FAIL  %-15s %s\n%22sto do: %s\n", name, inWords(err), "", remedy)
}

// dataFolder writes, syncs and removes a file where the data folder is, or in the folder in which it would be
// made.
func (d *checkup) dataFolder(context.Context) (string, error) {
	dir := d.config.Data
	at := existing(dir)
	detail := dir + " can be written"
	if at != dir {
		detail = dir + " is not there yet, and can be made"
	}
	return detail, d.inScratch(at, func(temp string) error {
		f, err := os.Create(filepath.Join(temp, "file"))
		if err != nil {
			return err
		}
		_, err = f.WriteString("reelmill")
		return errors.Join(err, f.Sync(), f.Close())
	})
}

// inScratch makes a folder in dir, hands it to do, and removes it.
func (d *checkup) inScratch(dir string, do func(temp string) error) error {
	temp, err := os.MkdirTemp(dir, ".reelmill-doctor-")
	if err != nil {
		return fmt.Errorf("%w (as %s)", err, user())
	}
	return errors.Join(do(temp), os.RemoveAll(temp))
}

func user() string { return fmt.Sprintf("user %d, group %d", os.Getuid(), os.Getgid()) }

// disk measures the data disk by the rule of serve.
func (d *checkup) disk(context.Context) (string, error) {
	disk := &node.Disk{Dir: existing(d.config.Data), MinFree: d.config.MinFree}
	free, total, err := disk.Measure()
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s of %s are free at %s; uploads leave %s",
		bytesize.Size(free), bytesize.Size(total), disk.Dir, bytesize.Size(disk.Reserve(total)))
	if disk.FreeSpace() != nil {
		return "", errors.New(detail + ": they would be refused")
	}
	return detail, nil
}

// brokerPatience is how long the doctor waits for a broker; serve waits longer, since all may be started at
// once.
const brokerPatience = 10 * time.Second

// broker stores, reads and removes a message on the broker that serve would use, and compares its streams.
func (d *checkup) broker(ctx context.Context) (detail string, err error) {
	n := d.config
	if n.NATS != "" {
		return d.probe(ctx, n.Data)
	}
	if _, err := os.Stat(broker.Dir(n.Data)); !errors.Is(err, fs.ErrNotExist) {
		return d.probe(ctx, n.Data)
	}
	err = d.inScratch(existing(n.Data), func(temp string) error {
		_, err := d.probe(ctx, temp)
		return err
	})
	return "within the process; there is no event log yet", err
}

// probe looks at the broker at --nats, or at the one within the process on dir.
func (d *checkup) probe(ctx context.Context, dir string) (detail string, err error) {
	n := d.config
	limited, cancel := context.WithTimeout(ctx, brokerPatience)
	defer cancel()
	b, err := broker.Open(limited, n.NATS, dir, n.Logger)
	switch {
	case errors.Is(err, embedded.ErrLocked):
		d.running = true
		return "a server runs on " + n.Data + "; its /readyz tells of its broker", nil
	case err != nil && n.NATS != "":
		return "", remedied{err, "start the NATS server, or correct --nats"}
	case err != nil:
		return "", remedied{fmt.Errorf("%w (as %s)", err, user()), "let the user that runs ReelMill write " + dir}
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if detail, err = d.compare(limited, b); err == nil {
		err = d.lookAtLog(ctx, b)
	}
	return detail, err
}

func (d *checkup) compare(ctx context.Context, b *broker.Broker) (string, error) {
	n, where := d.config, "within the process"
	if n.NATS != "" {
		where = broker.WithoutPassword(n.NATS) + ", nats-server " + b.Conn.ConnectedServerVersion()
		if err := newEnough(b.Conn.ConnectedServerVersion()); err != nil {
			return "", remedied{err, "install a nats-server of that version"}
		}
	}
	config := bus.Config{Replicas: n.Replicas, EventsMaxBytes: n.EventsMax}
	all, err := bus.Look(ctx, b.Conn, config)
	if err != nil {
		return "", remedied{
			fmt.Errorf("%s: %w", where, err), "turn JetStream on there, and let this account use it",
		}
	}
	for _, l := range all {
		for _, diff := range l.Differences {
			return "", remedied{fmt.Errorf("%s: %s: %s", where, l.Name(), diff), remedyFor(all)}
		}
		if l.Stream == "EVENTS" && l.Consumer == "" {
			config.Replicas = max(l.Replicas, config.Replicas)
		}
	}
	if err := bus.Probe(ctx, b.Conn, config); err != nil {
		return "", remedied{fmt.Errorf("%s: %w", where, err),
			"see that the NATS servers run, are one cluster, and have room and rights for JetStream"}
	}
	return where + "; a message was stored, read and removed", nil
}

// remedyFor says what to do about streams that differ.
func remedyFor(all []bus.Live) string {
	if err := bus.Check(all...); err != nil {
		return "adapt the flags; `reelmill streams apply` cannot change it: " + err.Error()
	}
	return "adapt the flags, or have `reelmill streams apply` change it"
}

// newEnough refuses a NATS server that is older than what ReelMill relies on.
func newEnough(version string) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("nats-server %s: its version cannot be read: %w", version, err)
	}
	if major < 2 || major == 2 && minor < 15 {
		return fmt.Errorf("nats-server %s is too old: 2.15 or later is needed", version)
	}
	return nil
}
