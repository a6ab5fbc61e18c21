package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/reelmill/reelmill/pipeline/api"
)

// hosts returns the names by which the process may be reached: those of --allow-host, and those in addresses
// that it listens on.
func (f workFlags) hosts(addresses ...string) []string {
	names := slices.Clone(f.AllowHost)
	for _, address := range addresses {
		host, _, err := net.SplitHostPort(address)
		if _, number := netip.ParseAddr(host); err == nil && host != "" && number != nil {
			names = append(names, host)
		}
	}
	return names
}

func (f workFlags) validateHosts() error {
	for _, name := range f.AllowHost {
		if err := api.CheckHost(name); err != nil {
			return fmt.Errorf("--allow-host: %w", err)
		}
	}
	return nil
}

// access turns the flags into whom the server answers.
func (c serveCommand) access() api.Access {
	return api.Access{
		Hosts: c.hosts(c.Listen, c.MetricsListen), Origins: c.AllowOrigin, PlayOrigins: c.PlayOrigin,
		Proxies: c.proxies(),
	}
}

// proxies returns the networks of --trusted-proxies; Validate has checked them.
func (c serveCommand) proxies() (all []netip.Prefix) {
	for _, text := range c.Proxies {
		if p, err := parseNetwork(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// parseNetwork reads a network, or an address alone.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%q is not a network; write one such as 10.0.0.0/8", text)
	}
	return p.Masked(), nil
}

func (c serveCommand) validateAccess() error {
	var mistakes []error
	for _, network := range c.Proxies {
		if _, err := parseNetwork(network); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--trusted-proxies: %w", err))
		}
	}
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"--min-upload-rate", int64(c.MinRate)}, {"--max-client-uploads", int64(c.Uploads)},
		{"--max-client-rate", int64(c.Rate)}, {"--max-streams", int64(c.Streams)},
	} {
		if limit.value < 1 {
			mistakes = append(mistakes, fmt.Errorf("%s must be 1 or more, not %d", limit.flag, limit.value))
		}
	}
	if c.Expires < time.Minute {
		mistakes = append(mistakes, fmt.Errorf("--upload-expires must be 1m or more, not %s", c.Expires))
	}
	for _, origin := range c.AllowOrigin {
		if err := api.CheckOrigin(origin); err != nil {
			mistakes = append(mistakes, fmt.Errorf("--allow-origin: %w", err))
		}
	}
	if err := api.CheckPlayOrigins(c.PlayOrigin); err != nil {
		mistakes = append(mistakes, fmt.Errorf("--play-origin: %w", err))
	}
	return errors.Join(append(mistakes, c.validateHosts())...)
}

// warnAnyHost warns of a server that answers whatever name leads to it.
func warnAnyHost(a api.Access, log *slog.Logger) {
	if slices.Contains(a.Hosts, "*") {
		log.Warn("with --allow-host '*', any web page can use this server through the browser of a person who " +
			"can reach it; name the hosts instead")
	}
}
