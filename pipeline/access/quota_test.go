package access

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/reelmill/reelmill/pipeline"
)

// TestQuotaIsToldOnce: of a period and a limit there is one warning and one event that the quota is used up,
// whoever tells it how often.
func TestQuotaIsToldOnce(t *testing.T) {
	log := &memory{}
	limits := Limits{UploadBytesPerDay: 1000, MinutesStored: 10}
	day := time.Date(2026, 11, 28, 23, 0, 0, 0, time.UTC)
	var got []string
	tell := func(s Standing, refused bool) {
		t.Helper()
		e, told, err := TellQuota(t.Context(), log, "shop", s, refused)
		must(t, err)
		if told {
			var data QuotaData
			must(t, e.Decode(&data))
			if data.Used != s.Used || data.Project != "shop" || e.CorrelationID != "shop" {
				t.Errorf("%s tells %+v of %s", e.Type, data, e.CorrelationID)
			}
			got = append(got, string(data.Quota)+" "+data.Period+" "+string(e.Type))
		}
	}
	for range 2 {
		tell(limits.Stand(UploadBytes, 799, day), false)
		tell(limits.Stand(UploadBytes, 800, day), false)
		tell(limits.Stand(UploadBytes, 900, day), true)
		tell(limits.Stand(UploadBytes, 1000, day), false)
		tell(limits.Stand(Stored, 12, day), false)
		tell(limits.Stand(Encoded, 1e6, day), true) // it has no limit
	}
	tomorrow := day.Add(2 * time.Hour)
	tell(limits.Stand(UploadBytes, 1000, tomorrow), false)
	tell(limits.Stand(UploadBytes, 900, tomorrow), false) // something was canceled
	limits.UploadBytesPerDay = 1100
	tell(limits.Stand(UploadBytes, 900, tomorrow), false)
	tell(limits.Stand(Stored, 12, tomorrow), false)
	want := `upload_bytes_per_day 2026-11-28 quota.warned
upload_bytes_per_day 2026-11-28 quota.exceeded
minutes_stored 2026-11 quota.exceeded
upload_bytes_per_day 2026-11-29 quota.exceeded
upload_bytes_per_day 2026-11-29 quota.warned`
	if strings.Join(got, "\n") != want {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), want)
	}
	state := NewState()
	for _, e := range log.events {
		state.Apply(e)
	}
	if len(state.keys) != 0 || len(state.projects) != 1 {
		t.Errorf("events of quotas made %v, %v", state.keys, state.projects)
	}
}

// TestPeriods: days and months are those of UTC, and minutes stored do not renew.
func TestPeriods(t *testing.T) {
	at := time.Date(2026, 12, 31, 23, 30, 0, 0, time.FixedZone("", -3600)) // 2027 in UTC
	for q, want := range map[Quota][3]string{
		UploadBytes: {"2027-01-01", "2027-01-02 00:00:00 UTC", "2027-01-01 00:00:00 UTC"},
		Encoded:     {"2027-01", "2027-02-01 00:00:00 UTC", "2027-01-01 00:00:00 UTC"},
		Stored:      {"2027-01", pipeline.Clock(time.Time{}), "2027-01-01 00:00:00 UTC"},
	} {
		period, renews := q.Period(at)
		got := [3]string{period, pipeline.Clock(renews), pipeline.Clock(q.Begins(at))}
		if got != want {
			t.Errorf("%s: %v, want %v", q, got, want)
		}
	}
	if s := (Limits{MinutesStored: 3}).Stand(Stored, 1, at); s.RenewsAt != nil || s.Percent != 33.3 {
		t.Errorf("%+v", s)
	}
}

// TestLimitsOfAProject: limits are settings like others; a project without an event has none, and wrong ones
// are refused by name.
func TestLimitsOfAProject(t *testing.T) {
	log := &memory{}
	limits := Limits{RequestsPerSecond: 5, UploadsAtOnce: 2, UploadBytesPerDay: 7, MinutesStored: 8, MinutesEncodedPerMonth: 9, EncodesAtOnce: 6, Weight: 3}
	_, err := CreateProject(t.Context(), log, "shop", Settings{Limits: limits})
	must(t, err)
	k, _, _, err := CreateKey(t.Context(), log, NewKey{Project: "shop", Scopes: []Scope{Read}, RequestsPerSecond: 3})
	must(t, err)
	state := NewState()
	for _, e := range log.events {
		state.Apply(e)
	}
	kept, _ := state.Key("shop", k.ID)
	if got := state.Limits("shop"); got != limits || got.Burst() != 10 || kept.RequestsPerSecond != 3 {
		t.Errorf("%+v, key %+v", got, kept)
	}
	if none := state.Limits("default"); none != (Limits{}) || none.Any() || state.Limits("missing") != (Limits{}) {
		t.Errorf("%+v", none)
	}
	for name, l := range map[string]Limits{
		"requests_per_second":       {RequestsPerSecond: -1},
		"request_burst":             {RequestBurst: 4},
		"uploads_at_once":           {UploadsAtOnce: maxRate + 1},
		"upload_bytes_per_day":      {UploadBytesPerDay: -5},
		"minutes_stored":            {MinutesStored: maxMinutes + 1},
		"minutes_encoded_per_month": {MinutesEncodedPerMonth: -1},
		"encodes_at_once":           {EncodesAtOnce: -1},
		"weight":                    {Weight: maxWeight + 1},
	} {
		_, err := ChangeProject(t.Context(), log, "shop", func(Settings) Settings { return Settings{Limits: l} })
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, _, err = CreateKey(t.Context(), log, NewKey{Project: "shop", Scopes: []Scope{Read}, RequestsPerSecond: -1})
	if !errors.Is(err, ErrInvalid) {
		t.Errorf("a key with a negative rate: %v", err)
	}
}
