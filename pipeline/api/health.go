package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// readyTimeout bounds all checks of /readyz together.
const readyTimeout = 5 * time.Second

var (
	opHealth = huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/healthz", Tags: []string{"health"},
		Summary: "Whether the process answers", Description: "It checks nothing else, and is for liveness probes.",
	}
	opReady = huma.Operation{
		OperationID: "ready", Method: http.MethodGet, Path: "/readyz", Tags: []string{"health"},
		Summary:     "Whether the server can work: 200, or 503 with the checks that failed",
		Description: "For readiness probes. Each check is `ok` or says what is wrong.",
	}
)

type healthOutput struct {
	Status int
	Cache  string `header:"Cache-Control"`
	Body   healthBody
}

type healthBody struct {
	Status string            `json:"status" enum:"ok,unavailable"`
	Checks map[string]string `json:"checks" doc:"By name: ok, or what is wrong"`
	// Sandbox is set by /readyz.
	Sandbox string `json:"sandbox,omitempty" doc:"Tier of the sandbox in which this process runs ffmpeg"`
}

func (s *server) health(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{http.StatusOK, "no-store", healthBody{Status: "ok", Checks: map[string]string{}}}, nil
}

func (s *server) ready(ctx context.Context, _ *struct{}) (*healthOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	out := &healthOutput{http.StatusOK, "no-store", healthBody{Status: "ok", Checks: map[string]string{}}}
	out.Body.Sandbox = s.cfg.Sandbox
	for name, err := range s.cfg.Ready(ctx) {
		out.Body.Checks[name] = "ok"
		if err != nil {
			out.Body.Checks[name] = err.Error()
			out.Status, out.Body.Status = http.StatusServiceUnavailable, "unavailable"
		}
	}
	return out, nil
}
