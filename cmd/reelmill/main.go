// Command reelmill is the program: it reads flags, environment and configuration file, wires the packages
// together, and ends with an exit code that scripts can use.
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

	"github.com/alecthomas/kong"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline"
	"github.com/reelmill/reelmill/pipeline/client"
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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	printError(os.Stderr, err)
	os.Exit(exitCode(err))
}

// commands is the command line.
type commands struct {
	Config   string `help:"YAML file with settings and pipelines." env:"REELMILL_CONFIG" placeholder:"FILE"`
	LogLevel string `help:"Log messages of this level and above: ${enum}." default:"info" enum:"debug, info, warn, error" env:"REELMILL_LOG_LEVEL"`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Serve      serveCommand      `cmd:"" help:"Run everything in one process: API, broker, coordinator and workers."`
	Worker     workerCommand     `cmd:"" help:"Run jobs for a server that runs elsewhere."`
	Upload     uploadCommand     `cmd:"" help:"Upload videos to a server, and wait for them if asked."`
	Videos     videosCommand     `cmd:"" help:"List, show, follow, explain, cancel and delete videos."`
	Jobs       jobsCommand       `cmd:"" help:"Try jobs again."`
	Dead       deadCommand       `cmd:"" help:"List, show, redrive and discard dead letters."`
	Stats      statsCommand      `cmd:"" help:"Print throughput, failures and times of a server."`
	Workers    workersCommand    `cmd:"" help:"List the worker types, and show the parameters of one."`
	Run        runCommand        `cmd:"" help:"Process one file without a server."`
	Rebuild    rebuildCommand    `cmd:"" help:"Make the read model anew while the server is stopped."`
	Streams    streamsCommand    `cmd:"" help:"Show the streams of the broker, and change them."`
	Doctor     doctorCommand     `cmd:"" help:"Check what serve with the same flags would use, and say what to do."`
	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands with the Tab key."`
	Help       helpCommand       `cmd:"" help:"Show the help of a command."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// streams are where a command writes: data to out, everything for people to err.
type streams struct {
	out, err io.Writer
}

// usageError is a mistake in what was typed.
type usageError struct{ error }

// Unwrap returns what is wrong with the arguments.
func (e usageError) Unwrap() error { return e.error }

// errDone is what --help leaves.
var errDone = errors.New("done")

// run is the program.
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
		kong.Vars{"version": "reelmill " + version})
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
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(streams{stdout, stderr}, settings, newLogger(stderr, c.LogLevel))
	err = parsed.Run()
	var none *noServerError
	switch {
	case ctx.Err() != nil && err == context.Canceled: //nolint:errorlint // it has nothing to add
		return errInterrupted
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %w", errInterrupted, err)
	case errors.As(err, &none):
		return none
	}
	return err
}

// settingCodes are those of errors of this process that a flag or the configuration is to blame for.
var settingCodes = []pipeline.Code{pipeline.CodeWorkerTypeUnknown, pipeline.CodeParameters}

// errInterrupted says that the user stopped the program.
var errInterrupted = errors.New("interrupted")

// exitCode maps an error of run to the exit code that the package comment lists.
func exitCode(err error) int {
	var usage usageError
	var answer *client.Error
	var failed *notReadyError
	var coded *pipeline.Error
	var setting node.SettingError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.As(err, &setting):
		return exitUsage
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &failed):
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

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(s streams) error {
	_, err := fmt.Fprintln(s.out, "reelmill", version)
	return err
}
