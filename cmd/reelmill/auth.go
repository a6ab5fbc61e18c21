package main

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/reelmill/reelmill/cmd/reelmill/internal/node"
)

// The values of --auth.
const (
	authRequired = "required"
	authOff      = "off"
)

// authFor returns when a server that listens on an address asks for keys.
func (c serveCommand) authFor(listen string) node.Auth {
	switch {
	case c.Auth == authOff:
		return node.AuthOff
	case c.Auth == authRequired, c.Issuer != "", c.exposed(listen):
		return node.AuthRequired
	}
	return node.AuthOnceKeys
}

// exposed reports whether other machines can reach the server: by the address that it listens on, or
// through a proxy, which a public address or a trusted proxy tells of.
func (c serveCommand) exposed(listen string) bool {
	if !node.Loopback(listen) || len(c.Proxies) > 0 {
		return true
	}
	u, err := url.Parse(string(c.PublicURL))
	return c.PublicURL != "" && (err != nil || !loopbackName(u.Hostname()))
}

// loopbackName reports whether a host of a URL is this machine.
func loopbackName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || node.Loopback(host+":0") ||
		node.Loopback("["+host+"]:0")
}

// warnOpen warns of a server that others can reach and that asks for no key.
func (c serveCommand) warnOpen(auth node.Auth, listen string, log *slog.Logger) {
	if auth != node.AuthRequired && c.exposed(listen) {
		log.Warn("whoever reaches this server may do everything, as --auth off says: put a proxy that "+
			"authenticates in front, or make a key with `reelmill keys create` and leave out --auth off",
			"listen", listen)
	}
}

// errNoKey ends with the command that makes the first key.
func (c serveCommand) errNoKey(err error) error {
	with, flags := "", " --data "+c.Data
	if !c.NATS.Empty() {
		with, flags = ", with the settings of NATS that this command has", ""
	}
	return fmt.Errorf("%w. If a proxy authenticates everybody, start with --auth off; if not, make a key%s: "+
		"reelmill keys create --offline --project default --scopes admin,upload,read,write%s", err, with, flags)
}
