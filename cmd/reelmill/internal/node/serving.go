package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/reelmill/reelmill/pipeline/api"
)

// serve answers requests until ctx ends. Requests under way then get a second to finish.
func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("/", s.metrics.around(s.handler))
	if Loopback(listener.Addr().String()) {
		mux.Handle("GET /metrics", s.metrics.handler()) // elsewhere, only --metrics-listen has them
	}
	server := api.Server(listener.Addr().String(), mux)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		s.stopping.Store(true)
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.config.Logger.Debug("close open requests", "error", errors.Join(err, server.Close()))
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveMetrics serves metrics at --metrics-listen, if that is set, until ctx ends.
func (g *ground) serveMetrics(ctx context.Context) error {
	if g.config.MetricsListen == "" {
		return nil
	}
	listener, _, err := Listen(ctx, g.config.MetricsListen)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", g.metrics.handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// Listen opens a listener and returns its URL on this machine. An address without a port is a SettingError.
func Listen(ctx context.Context, address string) (net.Listener, string, error) {
	l, err := listen(ctx, address)
	if err != nil {
		if _, ok := errors.AsType[*net.AddrError](err); ok {
			err = SettingError{fmt.Errorf("%w; write an address and a port, such as 127.0.0.1:8080", err)}
		}
		return nil, "", err
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, "", errors.Join(err, l.Close())
	}
	if net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	return l, "http://" + net.JoinHostPort(host, port), nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" || strings.HasSuffix(address, ":") { // net would choose a port
		return nil, &net.AddrError{Err: "missing port in address", Addr: address}
	}
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// Loopback reports whether only this machine can reach the address.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && net.ParseIP(host).IsLoopback()
}
