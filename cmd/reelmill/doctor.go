package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	"github.com/reelmill/reelmill/workers/all"
)

// doctorCommand checks whether `serve` would run with the same flags, environment, configuration and user. It
// removes what it writes; it creates and changes no folder, stream or read model.
type doctorCommand struct {
	serveCommand
	output
}

// finding is what the doctor says about one thing.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"` // ok, warn or fail
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy,omitempty"`
}

// Run prints each check, and what to do about failed ones and warnings. It fails when one failed.
func (c doctorCommand) Run(ctx context.Context, s streams, set *settings, log *slog.Logger) error {
	signing, secretErr := keptSecret(c.WebhookSecret, c.Data, log)
	d := &checkup{
		flags: c.serveCommand, config: c.configWith(signing, set, log),
	}
	// When they are missing, the checks that need them say so.
	d.programs, _ = all.Find(all.Config{Webhook: d.config.Webhook, Threads: d.config.Threads})
	d.openCage(ctx)
	failures := 0
	for _, one := range []struct {
		name   string
		do     func(context.Context) (string, error)
		remedy string
	}{
		{"data folder", d.dataFolder, "let the user that runs ReelMill write it, or name another with --data"},
		{"disk", d.disk, "free space, or let uploads leave less free with --min-free"},
		{"read model", d.readModel, "read the error; `reelmill rebuild` rebuilds it from the event log"},
		{"broker", d.broker, "let the user that runs ReelMill write the data folder, or name another with --data"},
		{"event log", d.eventLog, ""},
		{"store", d.store, ""},
		{"ffmpeg", d.versions, "install ffmpeg and ffprobe " + all.OldestFFmpeg + " or later"},
		{"sandbox", d.sandbox, "read the error; --sandbox best-effort or off goes on with less protection"},
		{"descriptors", d.descriptors, ""},
		{"workers", d.workers, "install what is missing; on Debian: apt-get install ffmpeg"},
		{"webhook secret", func(context.Context) (string, error) { return "it can be read or made", secretErr },
			"let the user that runs ReelMill read " + secretPath(c.Data) + ", or remove an empty one"},
		{"configuration", d.configuration, "correct the flag or the key of the configuration file"},
		{"certificate", d.certificate, "correct --tls-cert and --tls-key; both files are PEM, and belong together"},
		{"address", d.address, "stop the program that uses the address, or name another with --listen"},
		{"clock", d.clock, "set the clock with NTP: ids, retries and signatures depend on it"},
	} {
		detail, err := one.do(ctx)
		found := judge(one.name, detail, one.remedy, err)
		if err := found.print(s, c.output); err != nil {
			return errors.Join(err, d.close())
		}
		if found.Verdict == "fail" {
			failures++
		}
	}
	if err := d.close(); err != nil {
		return err
	}
	if failures > 0 {
		return fmt.Errorf("%d %s failed", failures, human.Plural(failures, "check"))
	}
	return nil
}

// checkup is one run of the doctor.
type checkup struct {
	flags    serveCommand
	config   node.ServerConfig
	programs all.Config          // found, unless they are missing, and in their cage
	noCage   error               // why there is none
	running  bool                // a server uses the broker of the data folder
	model    *catalog.Inspection // nil: none can be read
	extent   bus.Extent
	lost     *loss.Error
	unread   pipeline.Sequences // that the log has but that cannot be read
	logRead  bool               // extent, lost and unread are of the log
	patience time.Duration      // for tests; 0: brokerPatience
}

// remedied is an error with what to do about it.
type remedied struct {
	error
	remedy string
}

// Unwrap returns the error without its remedy.
func (r remedied) Unwrap() error { return r.error }

// caution is what people should mend although serve runs with it. It does not fail the doctor.
type caution string

// Error implements error.
func (c caution) Error() string { return string(c) }

func (d *checkup) close() error {
	err := d.programs.Cage.Close()
	if d.model != nil {
		err = errors.Join(err, d.model.Close())
	}
	return err
}

// judge returns the finding of a check that ended with err.
func judge(check, detail, remedy string, err error) finding {
	if err == nil {
		return finding{Check: check, Verdict: "ok", Detail: detail}
	}
	verdict := "fail"
	if _, ok := errors.AsType[caution](err); ok {
		verdict = "warn"
	}
	if r, ok := errors.AsType[remedied](err); ok {
		remedy = r.remedy
	}
	return finding{check, verdict, inWords(err), remedy}
}

// print prints the finding as soon as it is known: the next check may take long.
func (f finding) print(s streams, o output) (err error) {
	switch {
	case o.structured():
		return o.encode(s.out, f)
	case f.Verdict == "ok":
		_, err = human.Fprintf(s.out, "ok    %-15s %s\n", f.Check, f.Detail)
	default:
		verdict := map[string]string{"warn": "warn", "fail": "FAIL"}[f.Verdict]
		_, err = human.Fprintf(s.out, "%s  %-15s %s\n%22sto do: %s\n",
			verdict, f.Check, human.Lines(f.Detail), "", f.Remedy)
	}
	return err
}

// dataFolder writes, syncs and removes a file in the data folder, or in the folder in which it would be made.
func (d *checkup) dataFolder(context.Context) (string, error) {
	dir := d.config.Data
	at := existing(dir)
	detail := dir + " can be written"
	if at != dir {
		detail = dir + " does not exist yet, and can be made"
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

// inScratch makes a folder in dir, calls do with it, and removes it.
func (d *checkup) inScratch(dir string, do func(temp string) error) error {
	temp, err := os.MkdirTemp(dir, ".reelmill-doctor-")
	if err != nil {
		return fmt.Errorf("%w (as %s)", err, user())
	}
	return errors.Join(do(temp), os.RemoveAll(temp))
}

func user() string { return fmt.Sprintf("user %d, group %d", os.Getuid(), os.Getgid()) }

// disk checks the free space of the data disk as serve does.
func (d *checkup) disk(context.Context) (string, error) {
	disk := &node.Disk{Dir: existing(d.config.Data), MinFree: d.config.MinFree}
	free, total, err := disk.Measure()
	if err != nil {
		return "", err
	}
	detail := fmt.Sprintf("%s of %s are free at %s; uploads leave %s",
		bytesize.Size(free), bytesize.Size(total), disk.Dir, bytesize.Size(disk.Reserve(total)))
	if disk.FreeSpace() != nil {
		return "", errors.New(detail + ": serve would refuse them")
	}
	return detail, nil
}

// brokerPatience is how long the doctor waits for a NATS server. serve waits longer, since all processes may
// start at once. An embedded broker reads its whole log first, however long that takes.
const brokerPatience = 10 * time.Second

// broker stores, reads and removes a message on the broker that serve would use, and compares its streams
// with the flags.
func (d *checkup) broker(ctx context.Context) (detail string, err error) {
	n := d.config
	if !n.NATS.Embedded() {
		return d.probe(ctx, n.Data)
	}
	if _, err := os.Stat(broker.Dir(n.Data)); !errors.Is(err, fs.ErrNotExist) {
		return d.probe(ctx, n.Data)
	}
	err = d.inScratch(existing(n.Data), func(temp string) error {
		_, err := d.probe(ctx, temp)
		return err
	})
	return "embedded in the process; there is no event log yet", err
}

// probe checks the broker at --nats, or the embedded one on dir.
func (d *checkup) probe(ctx context.Context, dir string) (detail string, err error) {
	n := d.config
	limited := ctx
	if !n.NATS.Embedded() {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, cmp.Or(d.patience, brokerPatience))
		defer cancel()
	}
	b, err := broker.Open(limited, n.NATS, dir, n.Logger)
	switch {
	case errors.Is(err, embedded.ErrLocked):
		d.running = true
		return "a server runs on " + n.Data + "; its /readyz checks its broker", nil
	case damaged(err) != nil:
		return "", remedied{damaged(err), broker.Remedy(dir)}
	case err != nil && !n.NATS.Embedded():
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

// damaged returns the error about a damaged file of the broker in the chain of err, or nil.
func damaged(err error) error {
	if d, ok := errors.AsType[*embedded.DamageError](err); ok {
		return d
	}
	return nil
}

func (d *checkup) compare(ctx context.Context, b *broker.Broker) (string, error) {
	n, where := d.config, "embedded in the process"
	if !n.NATS.Embedded() {
		where = n.NATS.String() + ", nats-server " + b.Conn.ConnectedServerVersion()
		if err := newEnough(b.Conn.ConnectedServerVersion()); err != nil {
			return "", remedied{err, "install nats-server 2.15 or later"}
		}
	}
	config := bus.Config{Replicas: n.Replicas, EventsMaxBytes: n.EventsMax}
	all, err := bus.Look(ctx, b.Conn, config)
	if err != nil {
		return "", remedied{
			fmt.Errorf("%s: %w", where, err), "turn on JetStream there, and allow it for this account",
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
			"check that the NATS servers run, form one cluster, and have room and rights for JetStream"}
	}
	return where + "; a message was stored, read and removed", nil
}

// remedyFor says what to do about streams that differ from the flags.
func remedyFor(all []bus.Live) string {
	if err := bus.Check(all...); err != nil {
		return "change the flags; `reelmill streams apply` cannot change the streams: " + err.Error()
	}
	return "change the flags, or change the streams with `reelmill streams apply`"
}

// newEnough refuses a NATS server that is too old for ReelMill.
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
