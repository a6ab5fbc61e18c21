// Command reelmill is the program of ReelMill. It reads flags, environment and configuration file, connects
// the packages, and ends with an exit code for scripts.
//
// Exit codes: 0 done, 1 failure, 2 wrong usage, 3 not found, 4 the video did not become ready, 5 timed out,
// 130 interrupted.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
	"github.com/reelmill/reelmill/workers/all"
)

// version is set by the linker.
var version = "devel"

// The exit codes.
const (
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitProcessing  = 4
	exitTimeout     = 5
	exitInterrupted = 130
)

// stopTime is how long the program may take to end after a signal. Whatever hangs then is cut off, as by a
// crash, before Docker would kill the process, which is 10 s after the signal.
const stopTime = 8 * time.Second

func main() {
	all.Tasks()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		stop() // from now on a signal ends the process at once
		time.AfterFunc(stopTime, func() {
			_, _ = human.Fprintf(os.Stderr, "reelmill: something did not stop within %s of the signal; the process "+
				"ends now. Nothing that was answered is lost.\n", stopTime)
			os.Exit(exitInterrupted)
		})
	})
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	printError(os.Stderr, err)
	os.Exit(exitCode(err))
}

// commands are the commands and flags of the program.
type commands struct {
	Config   string `help:"YAML file with settings and pipelines." env:"REELMILL_CONFIG" placeholder:"FILE"`
	LogLevel string `help:"Log messages of this level and above: ${enum}." default:"info" enum:"debug, info, warn, error" env:"REELMILL_LOG_LEVEL"`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Serve       serveCommand       `cmd:"" help:"Run everything in one process: API, broker, coordinator and workers."`
	Worker      workerCommand      `cmd:"" help:"Run jobs for a server elsewhere."`
	Upload      uploadCommand      `cmd:"" help:"Upload videos to a server, and wait for them with --wait."`
	Watch       watchCommand       `cmd:"" help:"Upload the videos that appear in a folder."`
	Events      eventsCommand      `cmd:"" help:"Print the events of all videos, or of one, and follow them with -f."`
	Videos      videosCommand      `cmd:"" help:"List, show, follow, explain, cancel, retry and delete videos."`
	Jobs        jobsCommand        `cmd:"" help:"Retry jobs."`
	Queues      queuesCommand      `cmd:"" help:"List, pause and resume the queues of worker types."`
	Dead        deadCommand        `cmd:"" help:"List, show, retry and discard jobs that failed for good (dead letters)."`
	Webhooks    webhooksCommand    `cmd:"" help:"Set up, change and test the endpoints that hear of events, and see and repeat deliveries."`
	Listen      listenCommand      `cmd:"" help:"Forward events to a server on this machine, as a webhook endpoint gets them."`
	Trigger     triggerCommand     `cmd:"" help:"Send a made-up event to webhook endpoints."`
	Keys        keysCommand        `cmd:"" help:"Make, list and revoke API keys."`
	Tokens      tokensCommand      `cmd:"" help:"Make tokens for browsers: for one upload, or to follow one video."`
	SigningKeys signingKeysCommand `cmd:"" help:"Make, list and revoke the keys that sign tokens for playback."`
	Projects    projectsCommand    `cmd:"" help:"Make, list, change and delete projects, for operators."`
	Usage       usageCommand       `cmd:"" help:"Print what a project uses, and how it stands with its quotas."`
	Stats       statsCommand       `cmd:"" help:"Print how many videos a server processed, how many failed, and how long they took."`
	Workers     workersCommand     `cmd:"" help:"List the worker types, and show their parameters."`
	Run         runCommand         `cmd:"" help:"Process one file without a server, into a folder."`
	Rebuild     rebuildCommand     `cmd:"" help:"Rebuild the read model from the event log, while the server is stopped."`
	Streams     streamsCommand     `cmd:"" help:"Show and change the streams of the broker."`
	Settings    configCommand      `cmd:"" name:"config" help:"Show the settings, and where each comes from."`
	Doctor      doctorCommand      `cmd:"" help:"Check whether serve would run with the same flags, and say what to do."`
	Completion  completionCommand  `cmd:"" help:"Print a script that lets a shell complete commands with the Tab key."`
	Help        helpCommand        `cmd:"" help:"Show the help of a command."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// streams are the outputs of a command: out for data, err for messages to people.
type streams struct {
	out, err io.Writer
}

// usageError is a mistake on the command line or in the configuration.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// errDone is the panic with which kong ends after --help.
var errDone = errors.New("done")

// run runs the command that args name. Its error decides the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var c commands
	defer func() {
		if p := recover(); p != nil {
			if p != any(errDone) {
				panic(p)
			}
			err = nil
		}
	}()
	parser, err := kong.New(&c, kong.Name("reelmill"), kong.Writers(stdout, stderr),
		kong.Description("Turns an uploaded video into everything a site needs to play it.\n\n"+
			"  reelmill serve\n  reelmill upload film.mp4 --wait=ready\n  reelmill run film.mp4 --out film"),
		kong.Exit(func(int) { panic(errDone) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}), helpTexts,
		kong.PostBuild(setOwnHelp), kong.Vars{"version": "reelmill " + version})
	if err != nil {
		return err
	}
	if err := dropEmptyVariables(); err != nil {
		return err
	}
	if line, asked := os.LookupEnv("COMP_LINE"); asked {
		return complete(stdout, parser.Model, line)
	}
	args, err = spellHelp(args, parser.Model)
	if err != nil {
		return usageError{err}
	}
	if err := refuseSecrets(args, parser.Model); err != nil {
		return usageError{err}
	}
	settings, err := loadSettings(args)
	if err != nil {
		return usageError{err}
	}
	if err := settings.check(parser.Model); err != nil {
		return usageError{err}
	}
	if err := kong.Resolvers(settings).Apply(parser); err != nil {
		return err
	}
	if len(args) == 0 {
		return usageError{errors.New("name a command; `reelmill help` lists them")}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return usageError{plain(err)}
	}
	log := newLogger(stderr, c.LogLevel)
	settings.warn(parsed, log)
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(streams{stdout, stderr}, settings, log, parsed)
	err = parsed.Run()
	var none *noServerError
	switch {
	case ctx.Err() != nil && err == context.Canceled: //nolint:errorlint // it adds nothing
		return errInterrupted
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", errInterrupted, err)
	case errors.As(err, &none):
		return none
	}
	return err
}

// settingCodes are the codes of local errors that a flag or the configuration causes.
var settingCodes = []pipeline.Code{pipeline.CodeWorkerTypeUnknown, pipeline.CodeParameters}

// errInterrupted means that the user stopped the program.
var errInterrupted = errors.New("interrupted")

// exitCode maps an error of run to the exit code that the package comment lists.
func exitCode(err error) int {
	var usage usageError
	var answer *client.Error
	var failed *notReadyError
	var notAdded *notAddedError
	var coded *pipeline.Error
	var setting node.SettingError
	var absent notFoundError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &absent):
		return exitNotFound
	case errors.As(err, &usage), errors.As(err, &setting):
		return exitUsage
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &failed), errors.As(err, &notAdded):
		return exitProcessing
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	case errors.As(err, &coded) && slices.Contains(settingCodes, coded.Code):
		return exitUsage
	case errors.As(err, &answer) && answer.Status == http.StatusNotFound:
		return exitNotFound
	case errors.As(err, &answer) && (answer.Status == http.StatusBadRequest ||
		answer.Status == http.StatusUnprocessableEntity):
		return exitUsage
	}
	return exitFailure
}

type versionCommand struct{ output }

// Run prints the version.
func (c versionCommand) Run(s streams) error {
	if c.structured() {
		return c.encode(s.out, map[string]string{"version": version})
	}
	_, err := human.Fprintln(s.out, "reelmill", version)
	return err
}
