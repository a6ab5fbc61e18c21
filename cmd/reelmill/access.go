package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

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
	}
}

func (c serveCommand) validateAccess() error {
	for _, origin := range c.AllowOrigin {
		if err := api.CheckOrigin(origin); err != nil {
			return fmt.Errorf("--allow-origin: %w", err)
		}
	}
	if err := api.CheckPlayOrigins(c.PlayOrigin); err != nil {
		return fmt.Errorf("--play-origin: %w", err)
	}
	return c.validateHosts()
}

// warnAnyHost warns of a server that answers whatever name leads to it.
func warnAnyHost(a api.Access, log *slog.Logger) {
	if slices.Contains(a.Hosts, "*") {
		log.Warn("with --allow-host '*', any web page can use this server through the browser of a person who " +
			"can reach it; name the hosts instead")
	}
}
