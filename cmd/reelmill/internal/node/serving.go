package node

import (
	"context"
	"crypto/tls"
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
	handler := s.metrics.around(s.handler)
	if Loopback(listener.Addr().String()) { // elsewhere, only --metrics-listen has them
		scrape, err := s.protected(s.server.PublicURL, s.server.Limits, s.metrics.handler())
		if err != nil {
			return err
		}
		handler = besides(handler, scrape)
	}
	server := api.Server(listener.Addr().String(), handler)
	done := make(chan error, 1)
	go func() { done <- server.Serve(s.encrypted(s.limitConnections(listener, s.connections))) }()
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
	s.handler.EndStreams(grace)
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// encrypted returns l with TLS, if the server has a certificate. A handshake happens in the goroutine of its
// connection, within the time for headers.
func (s *Server) encrypted(l net.Listener) net.Listener {
	if s.server.Certificate == nil {
		return l
	}
	const read = "read the renewed certificate"
	return tls.NewListener(l, s.server.Certificate.config(func(err error) {
		if err != nil {
			s.recurring.Failed(read, "error", err, "to_do", "clients get the one from before until it expires")
			return
		}
		s.recurring.Works(read)
	}))
}

// protected protects a handler of this node as the API is.
func (g *ground) protected(publicURL string, l api.Limits, h http.Handler) (http.Handler, error) {
	return api.Protect(g.config.Access, publicURL, l, g.config.Logger, h)
}

// besides answers GET /metrics with scrape, and everything else with next. A ServeMux would also answer by
// itself, with redirects that lack the headers of the API.
func besides(next, scrape http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			scrape.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
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
	handler, err := g.protected("", api.Limits{}, besides(http.NotFoundHandler(), g.metrics.handler()))
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := api.Server(listener.Addr().String(), handler)
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	err = server.Serve(g.limitConnections(listener, scrapeConnections))
	if !errors.Is(err, http.ErrServerClosed) {
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
