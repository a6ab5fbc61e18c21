package webhooks

import (
	"maps"
	"time"

	"github.com/reelmill/reelmill/pipeline/secret"
)

// EndpointView is an endpoint as it is answered: without secrets, and without the path of its URL, which
// may be one.
type EndpointView struct {
	ID            string            `json:"id" doc:"whe_ and 26 letters and digits"`
	Kind          Kind              `json:"kind" enum:"webhook,email,nats"`
	URL           string            `json:"url,omitempty" doc:"Where deliveries go; *** stands for path and parameters, which may be a secret"`
	Email         string            `json:"email,omitempty"`
	Subject       string            `json:"subject,omitempty" doc:"The whole subject of NATS"`
	Events        []string          `json:"events" doc:"Types of events; video.*, job.* and * are patterns"`
	Description   string            `json:"description"`
	Enabled       bool              `json:"enabled"`
	Metadata      map[string]string `json:"metadata"`
	Disabled      *Reason           `json:"disabled_reason" doc:"Why the server disabled it; null if it did not"`
	FailingSince  *time.Time        `json:"failing_since" doc:"Since when every attempt failed; null when the last one was accepted. After five days the endpoint is disabled. Two days without an attempt begin it anew"`
	Secret        string            `json:"secret,omitempty" doc:"Signs deliveries. Shown once: when it was made"`
	SecretExpires *time.Time        `json:"previous_secret_expires_at" doc:"Until when a previous secret signs too; null when none does"`
	CreatedAt     time.Time         `json:"created_at"`
	UpdatedAt     time.Time         `json:"updated_at"`
}

// ViewOf returns an endpoint as it is answered.
func ViewOf(e Endpoint, h Health, now time.Time) EndpointView {
	v := EndpointView{
		ID: e.ID, Kind: e.Kind, Email: e.Email, Events: e.Events, Description: e.Description, Enabled: e.Enabled,
		Metadata: maps.Clone(e.Metadata), Disabled: e.Disabled, CreatedAt: e.CreatedAt, UpdatedAt: e.UpdatedAt,
	}
	if e.URL != "" {
		v.URL = secret.Place(e.URL)
	}
	if e.Kind == NATS {
		v.Subject = e.Place()
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	if !h.FailingSince.IsZero() {
		v.FailingSince = &h.FailingSince
	}
	for _, s := range e.Secrets {
		valid := s.Expires != nil && s.Expires.After(now)
		if valid && (v.SecretExpires == nil || s.Expires.After(*v.SecretExpires)) {
			v.SecretExpires = s.Expires
		}
	}
	return v
}
