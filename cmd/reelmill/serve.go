package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/broker"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/human"
	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
	"github.com/reelmill/reelmill/pipeline/api"
	"github.com/reelmill/reelmill/pipeline/bus/embedded"
	"github.com/reelmill/reelmill/pipeline/bytesize"
	"github.com/reelmill/reelmill/pipeline/mail"
	"github.com/reelmill/reelmill/pipeline/secret"
)

// dataFlags are the flags of commands that open a data folder.
type dataFlags struct {
	Data string `help:"Folder for everything that ReelMill keeps." default:"reelmill-data" env:"REELMILL_DATA" type:"path"`

	NATS      secret.Text   `name:"nats" help:"${nats_help}" env:"REELMILL_NATS" placeholder:"nats://..." secret:"address"`
	Replicas  int           `help:"${replicas_help}" default:"0" enum:"0,1,3,5" env:"REELMILL_NATS_REPLICAS"`
	EventsMax bytesize.Size `name:"events-max-bytes" help:"${events_max_help}" env:"REELMILL_EVENTS_MAX_BYTES" placeholder:"SIZE"`
	Store     string        `help:"${store_help}" env:"REELMILL_STORE" placeholder:"s3://..." secret:"address"`

	NATSFile        string      `name:"nats-file" help:"${nats_file_help}" env:"REELMILL_NATS_FILE" placeholder:"FILE"`
	NATSCreds       string      `name:"nats-creds" help:"${nats_creds_help}" env:"REELMILL_NATS_CREDS" type:"existingfile" placeholder:"FILE" secret:"file"`
	S3AccessKey     secret.Text `name:"s3-access-key" env:"REELMILL_S3_ACCESS_KEY" hidden:"" secret:"value"`
	S3AccessKeyFile string      `name:"s3-access-key-file" help:"${s3_access_help}" env:"REELMILL_S3_ACCESS_KEY_FILE" placeholder:"FILE"`
	S3SecretKey     secret.Text `name:"s3-secret-key" env:"REELMILL_S3_SECRET_KEY" hidden:"" secret:"value"`
	S3SecretKeyFile string      `name:"s3-secret-key-file" help:"${s3_secret_help}" env:"REELMILL_S3_SECRET_KEY_FILE" placeholder:"FILE"`
}

// broker returns the address of the broker.
func (f dataFlags) broker() broker.Address {
	return broker.Address{URLs: f.NATS, Credentials: f.NATSCreds}
}

// config turns the flags into the configuration of a node.
func (f dataFlags) config(log *slog.Logger) node.Config {
	return node.Config{
		Data: f.Data, NATS: f.broker(), Replicas: f.Replicas, EventsMax: int64(f.EventsMax), Store: f.Store,
		S3AccessKey: f.S3AccessKey, S3SecretKey: f.S3SecretKey, Version: version, Logger: log,
	}
}

// minEventsMax is the smallest size of an event log. Only deletions may use the last thirty-second of a log
// (bus.Room), which must have room for one message of the largest size.
const minEventsMax = 32 * embedded.MaxPayload

// Validate is called by kong.
func (f dataFlags) Validate() error {
	if !f.NATS.Empty() {
		if err := broker.CheckURLs(f.NATS.Reveal()); err != nil {
			return fmt.Errorf("--nats: %w", err)
		}
	}
	if f.Replicas > 1 && f.NATS.Empty() {
		return fmt.Errorf("--replicas: %d copies need a cluster of NATS servers, not the embedded broker; name "+
			"the servers of the cluster with --nats", f.Replicas)
	}
	if f.EventsMax != 0 && f.EventsMax < minEventsMax {
		return fmt.Errorf("--events-max-bytes: an event log needs at least %s; leave the flag out to keep the "+
			"size as it is", bytesize.Size(minEventsMax))
	}
	return nil
}

// Parts of help texts that commands share.
const (
	storeHelp = "Object store: a folder, or s3://bucket/prefix?endpoint=URL&region=R with " +
		"REELMILL_S3_ACCESS_KEY and REELMILL_S3_SECRET_KEY. "
	slotsHelp = "How many jobs of each worker type run at once, such as 'transcode=2;audio=1'. Default: " +
		"half the cores for each type."
)

// helpTexts are the help texts that do not fit into a tag. ownHelp replaces some for some commands.
var helpTexts = kong.Vars{
	"nats_help": "Address of a NATS server with JetStream, to share a broker between processes. " +
		"Default: a broker embedded in the process.",
	"nats_file_help":  "File that holds the address of --nats, for one with a password or a token.",
	"nats_creds_help": "Credentials file (.creds) of a NATS user.",
	"s3_access_help":  "File that holds the access key of the store; or set REELMILL_S3_ACCESS_KEY.",
	"s3_secret_help":  "File that holds the secret key of the store; or set REELMILL_S3_SECRET_KEY.",
	"replicas_help": "Copies of each message in a cluster of NATS servers: 1, 3 or 5. Default (0): as it is, " +
		"or 1 for new streams. Only `reelmill streams apply` changes existing streams.",
	"events_max_help": "Largest size of the event log, at least " + bytesize.Size(minEventsMax).String() +
		". Default: as it is, or 8GiB for a new log. Only `reelmill streams apply` changes an existing log.",
	"store_help": storeHelp + "Default: a folder below --data.",
	"metrics_help": "Separate address for Prometheus metrics, such as 127.0.0.1:9464. An API on loopback has " +
		"/metrics too.",
	"public_url_help": "Address at which people reach this server, such as https://video.example.com or " +
		"https://example.com/video. URLs in answers and webhooks begin with it. Default: they are paths.",
	"force_help": "Accept what the event log has lost: replace the read model even if the new one lacks " +
		"events. Then `serve` starts again.",
	"max_videos_help": "Refuse uploads (503) while this many videos are unfinished.",
	"max_share_help":  "Refuse uploads (429) of a project while this many of its videos are unfinished.",
	"min_free_help":   "Free disk space that uploads must leave. Default: a tenth of the disk, 2 to 20 GiB.",
	"slots_help":      slotsHelp + " 0 leaves the type to other processes on --nats.",
	"threads_help":    "Threads of each encoder, 1 to 64. 0 means the default of 2.",
	"sandbox":         defaultSandbox(),
	"sandbox_help": "Whether ffmpeg must run in a sandbox: required, best-effort (what the machine can), " +
		"or off. Default: required on Linux (amd64, arm64), off elsewhere.",
	"webhook_url_help": "Webhook to call when a video is playable, and when it ends. " +
		"Uploads may name another.",
	"webhook_url_file_help": "File that holds the address of --webhook-url, for one with a token.",
	"webhook_secret_help": "File that holds the secret that signs webhooks (whsec_ and base64); or set " +
		"REELMILL_WEBHOOK_SECRET. Default: a new one, kept below --data.",
	"webhook_private_help": "Allow webhooks of uploads to private addresses.",
	"fetch_private_help":   "Allow sources of uploads to be fetched from private addresses.",
	"public_help": "Of earlier versions, and without effect: a server beyond loopback asks for API keys " +
		"(--auth).",
	"auth_help": "Whether requests need an API key: auto, required or off. With auto: once there is a key, " +
		"and if other machines can reach the server, by --listen, --public-url or --trusted-proxies.",
	"allow_host_help": "Name by which people and programs reach this process, such as video.lan. Loopback " +
		"names, IP addresses, and the names in --listen and --public-url need no flag. '*' allows every name; " +
		"then any web page can use the server through the browser of a person who can reach it.",
	"allow_origin_help": "Origin of web pages on other sites that may use the API, such as " +
		"https://app.example.com. Default: none may.",
	"tls_cert_help": "File with the certificate of the listener and those of its issuers (PEM). The server " +
		"then speaks https alone. A file that is replaced counts a second later. Default: no encryption.",
	"tls_key_help": "File with the private key of --tls-cert (PEM).",
	"proxies_help": "Network of proxies before the server, such as 10.0.0.0/8, whose X-Forwarded-For says " +
		"who the client is. The limits for one client need it behind a proxy. Default: the header is ignored.",
	"min_rate_help":       "Bytes a second that an upload must keep up; it may pause for up to a minute.",
	"client_uploads_help": "Uploads that one client may send at once (429); all together may send 64.",
	"expires_help": "How long an upload that was begun waits for its next byte, such as 24h. Then what " +
		"came of it is removed.",
	"streams_help": "Event streams, WebSockets and waiting reads that may be open at once (503); one client " +
		"may have three quarters (429).",
	"playable_within_help": "Time from its upload within which a video should be playable: `reelmill stats` " +
		"and metrics say whether 95% are. 0: no objective.",
	"client_rate_help": "Requests a second that one client may send (429).",
	"play_origin_help": "Origin of web pages whose scripts may play videos, '*' for all, or none.",
	"state_help": "Folder that remembers uploads, so that another run goes on with them. Default: reelmill " +
		"in your cache folder (~/.cache).",
	"watermark_help": "Make a watermarked copy, with an image FILE or with text:WORDS.",
	"wait_help":      "Wait until each video is playable, or until it is ready.",
	"key_file_help":  "File that holds the API key, for a server that asks for one; or set REELMILL_KEY.",
	"key_project_help": "Project. Default: that of the API key, or default with --offline. A key of the " +
		"project * is one of the operator.",
	"scopes_help": "What the key may do: upload, read, write, admin, work, operator. No scope implies another.",
	"offline_help": "Work on the event log itself, with the --data and --nats of serve, instead of asking a " +
		"server. An embedded broker must be stopped.",
	"listen_secret_help": "File that holds the secret that signs (whsec_ and base64); or " +
		"set REELMILL_LISTEN_SECRET. " +
		"Default: a new one, which is printed.",
	"smtp_help": "Server that sends e-mail to endpoints of the kind email, such as " +
		"smtp://mail.example.com:587 " +
		"(STARTTLS), smtps://... (TLS), or smtp+plain://127.0.0.1:25. Default: none.",
	"smtp_file_help": "File that holds the address of --smtp, for one with a password.",
	"oidc_issuer_help": "OpenID Connect issuer whose JSON Web Tokens count as credentials, such as " +
		"https://login.example.com. Default: none.",
	"oidc_audience_help": "Audience (aud) that the issuer's tokens must have.",
	"oidc_jwks_help":     "Address of the issuer's public keys. Default: where its discovery document says.",
	"oidc_project_help":  "Claim that names the project of a token.",
	"oidc_scope_help": "Claim that lists the scopes of a token, as words or as a list. Unknown ones do " +
		"not count.",
	"oidc_default_project_help": "Project of tokens without that claim. Default: they are refused. With it, " +
		"everybody to whom the issuer gives a token is let in.",
	"oidc_default_scopes_help": "Scopes of tokens without that claim. Default: none.",
	"smtp_from_help":           "Sender of e-mail, such as 'ReelMill <video@example.com>'.",
	"video_states":             "any, queued, inspecting, processing, ready, errored, rejected, canceled",
}

// defaultSandbox returns required where there is a sandbox, and elsewhere off.
func defaultSandbox() string {
	if runtime.GOOS == "linux" && (runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64") {
		return "required"
	}
	return "off"
}

// serveCommand runs everything in one process.
type serveCommand struct {
	dataFlags
	Listen    string        `help:"Address that the API listens on." default:"127.0.0.1:8080" env:"REELMILL_LISTEN"`
	PublicURL publicURL     `help:"${public_url_help}" name:"public-url" env:"REELMILL_PUBLIC_URL" placeholder:"https://..."`
	MaxUpload bytesize.Size `help:"Size of the largest upload." default:"10GiB" env:"REELMILL_MAX_UPLOAD"`
	MaxVideos int           `help:"${max_videos_help}" default:"100000" env:"REELMILL_MAX_VIDEOS"`
	MaxShare  int           `help:"${max_share_help}" name:"max-project-videos" default:"10000" env:"REELMILL_MAX_PROJECT_VIDEOS"`
	MinFree   bytesize.Size `help:"${min_free_help}" env:"REELMILL_MIN_FREE"`
	MinRate   bytesize.Size `help:"${min_rate_help}" name:"min-upload-rate" default:"1KiB" env:"REELMILL_MIN_UPLOAD_RATE"`
	Uploads   int           `help:"${client_uploads_help}" name:"max-client-uploads" default:"48" env:"REELMILL_MAX_CLIENT_UPLOADS"`
	Expires   time.Duration `help:"${expires_help}" name:"upload-expires" default:"24h" env:"REELMILL_UPLOAD_EXPIRES"`
	Streams   int           `help:"${streams_help}" name:"max-streams" default:"10000" env:"REELMILL_MAX_STREAMS"`
	Within    time.Duration `help:"${playable_within_help}" name:"playable-within" default:"5m" env:"REELMILL_PLAYABLE_WITHIN"`
	Rate      int           `help:"${client_rate_help}" name:"max-client-rate" default:"1000" env:"REELMILL_MAX_CLIENT_RATE"`
	Workers   bool          `help:"Run jobs in this process." default:"true" negatable:"" env:"REELMILL_WORKERS"`
	workFlags

	SMTP     secret.Text `name:"smtp" help:"${smtp_help}" env:"REELMILL_SMTP" placeholder:"smtp://..." secret:"address"`
	SMTPFile string      `name:"smtp-file" help:"${smtp_file_help}" env:"REELMILL_SMTP_FILE" placeholder:"FILE"`
	SMTPFrom string      `name:"smtp-from" help:"${smtp_from_help}" env:"REELMILL_SMTP_FROM" placeholder:"ADDRESS"`

	issuerFlags
	tlsFlags
	Auth        string   `help:"${auth_help}" default:"auto" enum:"auto,required,off" env:"REELMILL_AUTH"`
	AllowPublic bool     `help:"${public_help}" env:"REELMILL_ALLOW_PUBLIC"`
	AllowOrigin []string `help:"${allow_origin_help}" env:"REELMILL_ALLOW_ORIGIN" placeholder:"ORIGIN"`
	Proxies     []string `help:"${proxies_help}" name:"trusted-proxies" env:"REELMILL_TRUSTED_PROXIES" placeholder:"CIDR"`
	PlayOrigin  []string `help:"${play_origin_help}" default:"*" env:"REELMILL_PLAY_ORIGIN" placeholder:"ORIGIN"`
}

// Validate is called by kong.
func (c serveCommand) Validate() error {
	var mistakes []error // all of them, so that people need not start again for each
	if c.NATS.Empty() {
		mistakes = append(mistakes, c.Slots.checkAlone())
	}
	if c.MaxVideos < 0 {
		mistakes = append(mistakes, fmt.Errorf("--max-videos must be 0 or more, not %d", c.MaxVideos))
	}
	if c.MaxShare < 0 {
		mistakes = append(mistakes, fmt.Errorf("--max-project-videos must be 0 or more, not %d", c.MaxShare))
	}
	if !c.SMTP.Empty() {
		if err := c.mail().Check(); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--smtp: %w", err))
		}
	}
	if c.Within < 0 {
		mistakes = append(mistakes, fmt.Errorf("--playable-within must be 0 or more, not %s", c.Within))
	}
	mistakes = append(mistakes, c.checkTLS(), c.validateAccess(), c.checkIssuer(), c.dataFlags.Validate())
	return errors.Join(mistakes...)
}

// mail returns how e-mail is sent.
func (c serveCommand) mail() mail.Config { return mail.Config{Server: c.SMTP, From: c.SMTPFrom} }

// readyLine is what serve prints on stdout once it is ready: the contract with scripts.
type readyLine struct {
	Ready bool   `json:"ready"`
	URL   string `json:"url"`
}

// Run serves until ctx ends.
func (c serveCommand) Run(ctx context.Context, s streams, set *settings, log *slog.Logger) error {
	config, err := c.config(set, log)
	if err != nil {
		return err
	}
	listener, url, err := node.Listen(ctx, c.Listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: stop the program that uses the address, or name another with --listen", err)
	}
	if err != nil {
		return err
	}
	defer listener.Close()
	if config.Certificate, err = c.openCertificate(); err != nil {
		return err
	}
	client, url := ownClient(config.Certificate, url)
	config.Auth = c.authFor(listener.Addr().String())
	warnAnyHost(config.Access, log)
	c.warnInsecure(log)
	c.warnOpen(config.Auth, listener.Addr().String(), log)
	c.warnPlain(config.Certificate, listener.Addr().String(), log)
	n, err := node.OpenServer(ctx, config)
	if errors.Is(err, node.ErrNoKey) {
		return usageError{c.errNoKey(err)}
	}
	if err != nil {
		return err
	}
	var g errgroup.Group
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error { defer stop(); return n.Run(runCtx, listener) })
	g.Go(func() error {
		err := announce(runCtx, client, s, url, log)
		if err != nil {
			stop()
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	})
	return errors.Join(g.Wait(), n.Close())
}

// config turns the flags into the configuration of a server.
func (c serveCommand) config(set *settings, log *slog.Logger) (node.ServerConfig, error) {
	signing, err := webhookSecret(c.WebhookSecret, c.Data, log)
	if err != nil {
		return node.ServerConfig{}, err
	}
	return c.configWith(signing, set, log), nil
}

// configWith is config with a given webhook secret.
func (c serveCommand) configWith(signing secret.Text, set *settings, log *slog.Logger) node.ServerConfig {
	config := c.dataFlags.config(log)
	config.MinFree, config.MetricsListen = int64(c.MinFree), c.MetricsListen
	config.Tuning, config.Access = node.Tuning(c.tuning), c.access()
	return node.ServerConfig{
		Config: config, Jobs: c.jobs(signing), RunJobs: c.Workers,
		Limits: api.Limits{
			MaxUpload: int64(c.MaxUpload), MaxVideos: c.MaxVideos, MaxProjectVideos: c.MaxShare,
			MinUploadRate: int64(c.MinRate), MaxClientUploads: c.Uploads, MaxClientRate: c.Rate,
			UploadExpires: c.Expires, MaxStreams: c.Streams,
		},
		OIDC: c.issuerFlags.config(log), Mail: c.mail(), Pipelines: set.pipelines, PublicURL: string(c.PublicURL),
		PlayableObjective: c.Within,
	}
}

// readyPatience is after which time a server logs that it is not ready yet: most are ready sooner.
const readyPatience = 2 * time.Second

// announce prints the ready line once /readyz answers 200, and tells people what to type next. It logs once
// why a server is not ready for long.
func announce(ctx context.Context, client *http.Client, s streams, url string, log *slog.Logger) error {
	late := time.After(readyPatience)
	for {
		ok, err := probe(ctx, client, url+"/readyz")
		if ok {
			break
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-late:
			if err := notReady(ctx, client, url); err != nil && ctx.Err() == nil {
				log.Warn("the server listens, but is not ready yet", "error", err)
			}
		case <-wait.C:
		}
	}
	human.Fprintf(s.err, "ReelMill %s serves %s\nNext: reelmill upload FILE --server %s --wait=ready\n",
		version, url, url)
	return human.Encode(s.out, readyLine{Ready: true, URL: url})
}

func probe(ctx context.Context, client *http.Client, url string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusOK, err
}
