package main

import (
	"errors"
	"log/slog"

	"github.com/reelmill/reelmill/pipeline/access"
	"github.com/reelmill/reelmill/pipeline/access/oidc"
)

// issuerFlags say whose JSON Web Tokens a server takes.
type issuerFlags struct {
	Issuer         string         `name:"oidc-issuer" help:"${oidc_issuer_help}" env:"REELMILL_OIDC_ISSUER" placeholder:"https://..."`
	Audience       string         `name:"oidc-audience" help:"${oidc_audience_help}" env:"REELMILL_OIDC_AUDIENCE" placeholder:"NAME"`
	JWKS           string         `name:"oidc-jwks-url" help:"${oidc_jwks_help}" env:"REELMILL_OIDC_JWKS_URL" placeholder:"https://..."`
	ProjectClaim   string         `name:"oidc-project-claim" help:"${oidc_project_help}" default:"project" env:"REELMILL_OIDC_PROJECT_CLAIM"`
	ScopeClaim     string         `name:"oidc-scope-claim" help:"${oidc_scope_help}" default:"scope" env:"REELMILL_OIDC_SCOPE_CLAIM"`
	DefaultProject string         `name:"oidc-default-project" help:"${oidc_default_project_help}" env:"REELMILL_OIDC_DEFAULT_PROJECT" placeholder:"NAME"`
	DefaultScopes  []access.Scope `name:"oidc-default-scopes" help:"${oidc_default_scopes_help}" env:"REELMILL_OIDC_DEFAULT_SCOPES" placeholder:"SCOPE"`
}

// config turns the flags into a configuration.
func (f issuerFlags) config(log *slog.Logger) oidc.Config {
	return oidc.Config{
		Issuer: f.Issuer, Audience: f.Audience, JWKS: f.JWKS, ProjectClaim: f.ProjectClaim,
		ScopeClaim: f.ScopeClaim, DefaultProject: f.DefaultProject, DefaultScopes: f.DefaultScopes, Logger: log,
	}
}

// checkIssuer returns what is wrong with the flags.
func (f issuerFlags) checkIssuer() error {
	if f.Issuer != "" {
		return f.config(nil).Check()
	}
	if f.Audience != "" || f.JWKS != "" || f.DefaultProject != "" || len(f.DefaultScopes) > 0 {
		return errors.New("--oidc-issuer is missing, without which the other flags of --oidc-... have no effect")
	}
	return nil
}

// warnInsecure warns of an issuer whose keys somebody on the way could forge.
func (f issuerFlags) warnInsecure(log *slog.Logger) {
	if f.config(nil).Insecure() {
		log.Warn("the issuer's keys come over http: whoever is on the way can forge credentials; use https, or an "+
			"issuer on this machine", "issuer", f.Issuer)
	}
}
