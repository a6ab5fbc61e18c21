package main

// ruleImports says, for packages that match the pattern dir, which packages of this module (patterns too)
// their code may import. In a pattern * is one path element, and /... at the end is the folder and all below.
var ruleImports = []struct {
	dir  string
	ours []string
}{ // the first match counts
	{"cmd/bench", []string{"pipeline/...", "workers/...", "storage/..."}},
	{"cmd/cases", []string{"pipeline/...", "workers/...", "storage/..."}},
	{"cmd/chaos", []string{"pipeline/...", "workers/...", "storage/..."}},
	{"cmd/reelmill", []string{"pipeline/...", "workers/...", "storage/...", "cmd/reelmill/internal/*"}},
	{"cmd/reelmill/internal/broker", []string{"pipeline", "pipeline/bus/embedded", "pipeline/pause", "pipeline/secret"}},
	{"cmd/reelmill/internal/human", nil},
	{"cmd/reelmill/internal/loss", []string{"pipeline", "pipeline/bus", "storage/catalog", "cmd/reelmill/internal/human"}},
	{"cmd/reelmill/internal/node", []string{"pipeline/...", "workers/...", "storage/...", "cmd/reelmill/internal/broker", "cmd/reelmill/internal/loss", "cmd/reelmill/internal/rebuild"}},
	{"cmd/reelmill/internal/rebuild", []string{"pipeline", "pipeline/bus", "storage/catalog", "cmd/reelmill/internal/loss"}},

	{"pipeline", nil},
	{"pipeline/access", []string{"pipeline", "pipeline/secret"}},
	{"pipeline/access/oidc", []string{"pipeline", "pipeline/access", "pipeline/secret"}},
	{"pipeline/api", []string{"pipeline", "pipeline/access", "pipeline/bulk", "pipeline/console", "pipeline/live", "pipeline/manifest", "pipeline/pace", "pipeline/playback", "pipeline/quota", "pipeline/secret", "pipeline/stats", "pipeline/webhooks", "pipeline/why", "storage", "storage/catalog"}},
	{"pipeline/api/apitest", []string{"pipeline/...", "storage/..."}},
	{"pipeline/bulk", []string{"pipeline"}},
	{"pipeline/bus", []string{"pipeline", "pipeline/bulk", "pipeline/bytesize", "pipeline/pause", "pipeline/webhooks"}},
	{"pipeline/bus/bustest", []string{"pipeline/bus/embedded", "pipeline/pipelinetest"}},
	{"pipeline/bus/embedded", []string{"pipeline", "pipeline/bus", "storage/claim"}},
	{"pipeline/bytesize", nil},
	{"pipeline/client", []string{"pipeline", "pipeline/access", "pipeline/bulk", "pipeline/pause", "pipeline/quota", "pipeline/secret", "pipeline/stats", "pipeline/webhooks", "pipeline/why"}},
	{"pipeline/console", nil},
	{"pipeline/live", []string{"pipeline", "pipeline/pause", "storage/catalog"}},
	{"pipeline/mail", []string{"pipeline", "pipeline/secret", "pipeline/webhooks"}},
	{"pipeline/manifest", []string{"pipeline"}},
	{"pipeline/pace", nil},
	{"pipeline/pause", nil},
	{"pipeline/pipelinetest", []string{"pipeline"}},
	{"pipeline/playback", []string{"pipeline", "pipeline/access"}},
	{"pipeline/quota", []string{"pipeline", "pipeline/access"}},
	{"pipeline/secret", nil},
	{"pipeline/stats", []string{"pipeline"}},
	{"pipeline/webhooks", []string{"pipeline", "pipeline/pause", "pipeline/secret"}},
	{"pipeline/why", []string{"pipeline"}},

	{"storage", nil},
	{"storage/accounts", []string{"pipeline", "storage", "storage/postgres"}},
	{"storage/catalog", []string{"pipeline", "pipeline/access", "pipeline/stats", "storage", "storage/postgres"}},
	{"storage/claim", nil},
	{"storage/disk", []string{"storage"}},
	{"storage/guard", []string{"storage"}},
	{"storage/postgres", []string{"storage"}},
	{"storage/s3", []string{"storage", "pipeline/secret"}},
	{"storage/s3/s3test", []string{"storage", "storage/s3", "pipeline/secret"}},
	{"storage/storagetest", []string{"storage", "storage/disk"}},

	{"workers", []string{"pipeline", "pipeline/pause", "storage"}},
	{"workers/all", []string{"pipeline", "storage", "workers", "workers/*", "workers/internal/*"}},
	{"workers/fetch", []string{"pipeline", "pipeline/pace", "pipeline/pause", "workers", "storage", "workers/internal/*"}},
	{"workers/internal/audiotrack", []string{"pipeline", "workers/internal/encode", "workers/internal/ffmpeg"}},
	{"workers/internal/encode", []string{"pipeline", "workers/internal/ffmpeg"}},
	{"workers/internal/ffmpeg", []string{"workers/internal/sandbox"}},
	{"workers/internal/hls", []string{"pipeline", "pipeline/manifest"}},
	{"workers/internal/outbound", nil},
	{"workers/internal/picture", []string{"pipeline", "workers/internal/encode", "workers/internal/ffmpeg"}},
	{"workers/internal/sampletable", []string{"pipeline", "pipeline/manifest"}},
	{"workers/internal/sandbox", []string{"workers/internal/sandbox/confine"}},
	{"workers/internal/sandbox/confine", nil},
	{"workers/internal/userimage", []string{"pipeline", "workers/internal/sandbox"}},
	{"workers/webhook", []string{"pipeline", "pipeline/secret", "pipeline/webhooks", "workers", "workers/internal/*"}},
	{"workers/workertest", []string{"pipeline", "pipeline/manifest", "storage/...", "workers", "workers/internal/*"}},
	{"workers/*", []string{"pipeline", "pipeline/manifest", "workers", "storage", "workers/internal/*"}}, // a worker
}

// ruleModules says which packages (patterns) may import a module, or an outside system's package of the
// standard library: code may if it matches code; tests and kits for tests also if they match tests. Nobody may
// import a module that is not listed. A package of the standard library that is not listed is free.
var ruleModules = []struct {
	imported    string
	code, tests []string
}{
	{"database/sql", []string{"cmd/chaos", "storage/accounts", "storage/catalog", "storage/postgres"}, nil},
	{"github.com/Eyevinn/hls-m3u8", []string{"pipeline/manifest", "workers/internal/ffmpeg"}, nil},
	{"github.com/Eyevinn/mp4ff", []string{
		"cmd/cases", "workers/audio", "workers/internal/audiotrack", "workers/internal/ffmpeg", "workers/internal/hls",
		"workers/internal/sampletable", "workers/transcode",
	}, []string{"cmd/reelmill"}},
	{"github.com/alecthomas/kong", []string{"cmd/reelmill"}, nil},
	{"github.com/cenkalti/backoff/v5", []string{"storage/guard"}, nil},
	{"github.com/coder/websocket", []string{"pipeline/api"}, []string{"cmd/reelmill"}},
	{"github.com/coreos/go-oidc/v3", []string{"pipeline/access/oidc"}, nil},
	{"github.com/danielgtaylor/huma/v2", []string{"pipeline/api", "workers", "workers/*"}, []string{"pipeline"}},
	{"github.com/disintegration/imaging", []string{"workers/internal/userimage", "workers/thumbnail", "workers/watermark"}, []string{"workers/all", "workers/transcode"}},
	{"github.com/go-jose/go-jose/v4", []string{"pipeline/access/oidc", "pipeline/playback"}, []string{"cmd/reelmill", "pipeline/api"}},
	{"github.com/google/go-cmp", nil, ruleAny},
	{"github.com/jackc/pgx/v5", []string{"storage/postgres"}, nil},
	{"github.com/elastic/go-seccomp-bpf", []string{"workers/internal/sandbox"}, nil},
	{"github.com/landlock-lsm/go-landlock", []string{"workers/internal/sandbox"}, nil},
	{"github.com/minio/highwayhash", []string{"pipeline/bus/embedded"}, nil},
	{"github.com/minio/minio-go/v7", []string{"storage/s3"}, nil},
	{"github.com/nats-io/jwt/v2", nil, []string{"cmd/reelmill/internal/broker"}},
	{"github.com/nats-io/nats-server/v2", []string{"cmd/bench", "cmd/chaos", "pipeline/bus/embedded"}, []string{
		"cmd/reelmill/...", "pipeline/bus", "pipeline/bus/bustest", "pipeline/quota",
	}},
	{"github.com/nats-io/nats.go", []string{
		"cmd/bench", "cmd/reelmill/internal/broker", "pipeline/bus", "pipeline/bus/embedded",
	}, []string{"cmd/reelmill/...", "pipeline/bus/bustest", "pipeline/quota", "pipeline/webhooks", "workers"}},
	{"github.com/nats-io/nkeys", nil, []string{"cmd/reelmill/internal/broker"}},
	{"github.com/oklog/ulid/v2", nil, []string{"pipeline"}},
	{"github.com/pressly/goose/v3", []string{"storage/accounts", "storage/catalog"}, nil},
	{"github.com/prometheus/client_golang", []string{"cmd/reelmill/internal/node"}, nil},
	{"github.com/rogpeppe/go-internal", nil, []string{"cmd/reelmill"}},
	{"github.com/santhosh-tekuri/jsonschema/v6", nil, ruleAny},
	{"github.com/sony/gobreaker/v2", []string{"storage/guard", "workers/webhook"}, nil},
	{"github.com/standard-webhooks/standard-webhooks/libraries", []string{"pipeline/client", "workers/webhook"}, []string{"cmd/reelmill", "pipeline/webhooks"}},
	{"github.com/tus/tusd/v2", []string{"cmd/bench", "pipeline/api"}, nil},
	{"github.com/u2takey/ffmpeg-go", []string{"workers/internal/ffmpeg"}, nil},
	{"github.com/vbauerster/mpb/v8", []string{"cmd/reelmill"}, nil},
	{"github.com/wneessen/go-mail", []string{"pipeline/mail"}, nil},
	{"go.uber.org/goleak", nil, ruleAny},
	{"go.yaml.in/yaml/v3", []string{"cmd/reelmill", "cmd/reelmill/internal/human"}, []string{"cmd/bench", "cmd/reelmill/internal/node"}},
	{"golang.org/x/exp", []string{"cmd/bench", "pipeline/api"}, nil}, // the logger of tusd
	{"golang.org/x/image", []string{"workers/internal/userimage", "workers/thumbnail", "workers/watermark"}, nil},
	{"golang.org/x/net", []string{"workers/internal/sandbox"}, nil},
	{"golang.org/x/sync", []string{
		"cmd/cases", "cmd/reelmill", "cmd/reelmill/internal/node", "pipeline/api", "pipeline/bus", "workers",
		"workers/*", "workers/internal/ffmpeg",
	}, ruleAny},
	{"golang.org/x/sys", []string{
		"cmd/chaos", "cmd/reelmill/internal/node", "workers", "workers/internal/ffmpeg", "workers/internal/sandbox",
		"workers/internal/sandbox/confine",
	}, ruleAny},
	{"golang.org/x/term", []string{"cmd/reelmill"}, nil},
	{"golang.org/x/text", []string{"pipeline/manifest"}, nil},
	{"golang.org/x/time", []string{"pipeline/api"}, nil},
	{"modernc.org/sqlite", []string{"cmd/chaos", "storage/accounts", "storage/catalog"}, nil},
	{"os/exec", []string{"cmd/bench", "cmd/cases", "cmd/chaos", "workers/internal/ffmpeg", "workers/internal/sandbox"}, ruleAny},
	{"pgregory.net/rapid", nil, ruleAny},
}

// ruleAny is a list of patterns that every package matches.
var ruleAny = []string{"*/..."}

// ruleTopFolders are the folders at the top. Names that begin with a dot, and bin, do not count.
var ruleTopFolders = []string{"cmd", "deploy", "pipeline", "storage", "workers"}

// ruleNames are meaningless package names.
var ruleNames = []string{"common", "helper", "helpers", "misc", "models", "types", "util", "utils"}

// ruleNoWorker are the folders below workers/ that are not workers.
var ruleNoWorker = []string{"all", "internal", "workertest"}
