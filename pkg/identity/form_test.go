package identity_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
)

// later writes an identity as a later release might, with more than this one knows.
func later(t *testing.T, claims []byte, more map[string]any) []byte {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(claims, &m); err != nil {
		t.Fatal(err)
	}
	maps.Copy(m, more)
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatALaterReleaseAddsIsPassedOverUnlessItIsCritical(t *testing.T) {
	user := identity.User{
		Cluster: "c", Certificate: "crt_01hv0000000000000000000000", Name: "ada", UID: "usr_1", Roles: []string{"access"}, IssuedAt: time.Now(),
		Grants: []identity.Grant{{Request: "req_01hv0000000000000000000000", Roles: []string{"dba"}, Until: time.Now().Add(time.Hour)}},
	}
	host := identity.Host{
		Cluster: "c", ClusterName: "stile", Certificate: user.Certificate, Kind: identity.KindAgent, ID: "agt_01hv0000000000000000000000", IssuedAt: time.Now(),
	}
	userClaims, err := user.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	hostClaims, err := host.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		more map[string]any
		ok   bool
	}{
		"a new field":                       {map[string]any{"zone": map[string]any{"deep": []int{1}}}, true},
		"a new field that is critical":      {map[string]any{"zone": "x", "critical": []string{"zone"}}, false},
		"a known field that is critical":    {map[string]any{"critical": []string{"issued_at", "versions.policy"}}, true},
		"a new field within a known one":    {map[string]any{"critical": []string{"versions.zone"}}, false},
		"a critical field that isn't there": {map[string]any{"critical": []string{"zone"}}, false},
		"another form":                      {map[string]any{"v": 2}, false},
		"no form":                           {map[string]any{"v": 0}, false},
		"a known field of another type":     {map[string]any{"issued_at": 7}, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := identity.ParseUser(later(t, userClaims, c.more))
			if (err == nil) != c.ok {
				t.Errorf("a user: %v", err)
			}
			if err != nil && strings.Contains(name, "critical") && (!fault.Is(err, fault.Unauthenticated) || !strings.Contains(fault.From(err).Hint, "update")) {
				t.Errorf("a user: %+v", fault.From(err))
			}
			if _, err = identity.ParseHost(later(t, hostClaims, c.more)); (err == nil) != c.ok {
				t.Errorf("a host: %v", err)
			}
		})
	}
}

func TestWhatLimitsACertificateIsCritical(t *testing.T) {
	u := identity.User{Cluster: "c", Certificate: "crt_01hv0000000000000000000000", Name: "ada", UID: "usr_1", IssuedAt: time.Now(), SourceAddress: "192.0.2.7"}
	b, err := u.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.ParseUser(b)
	if err != nil || len(got.Critical) != 1 || got.Critical[0] != "source_address" {
		t.Errorf("%+v, %v", got, err)
	}
}
