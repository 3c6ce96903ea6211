package admin_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stile-dev/stile/pkg/admin"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/resource"
)

// shown is the data of the last change's event, which must be one that the ledger takes.
func (o *office) shown(t *testing.T) map[string]string {
	t.Helper()
	e := o.changes[len(o.changes)-1].Event
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	return e.Data
}

func withLogins(logins ...string) *resource.RoleSpec {
	return &resource.RoleSpec{Allow: resource.RoleBlock{NodeLabels: resource.Labels{"env": {"dev"}}, Logins: logins}}
}

func TestTheEventOfAChangeShowsWhatChanged(t *testing.T) {
	o := newOffice(t)
	c := o.as(t, "team")
	dev := fresh(of("role", "dev", "/team", withLogins("ada")))
	if _, err := o.desk.Create(t.Context(), c, dev); err != nil {
		t.Fatal(err)
	}
	one := `{"metadata":{"name":"dev","scope":"/team","revision":1},"spec":{"allow":{"logins":["ada"],"node_labels":{"env":["dev"]}}}}`
	data := o.shown(t)
	if _, ok := data["before"]; ok || data["after"] != one {
		t.Errorf("%v", data)
	}
	dev.Spec = withLogins("ada", "root")
	if _, err := o.desk.Update(t.Context(), c, dev); err != nil {
		t.Fatal(err)
	}
	if data := o.shown(t); data["before"] != one || !strings.Contains(data["after"], `"revision":2`) || !strings.Contains(data["after"], `["ada","root"]`) {
		t.Errorf("%v", data)
	}
	if _, err := o.desk.Delete(t.Context(), c, "role", "dev"); err != nil {
		t.Fatal(err)
	}
	data = o.shown(t)
	if _, ok := data["after"]; ok || !strings.Contains(data["before"], `["ada","root"]`) || data["before_sha256"] != "" || !json.Valid([]byte(data["before"])) {
		t.Errorf("%v", data)
	}
}

func TestTheEventOfATokenHasNoSecret(t *testing.T) {
	o := newOffice(t)
	out, err := o.desk.Create(t.Context(), o.as(t, "team"), fresh(of("token", "nodes", "/team", &resource.TokenSpec{
		Method: resource.MethodToken, Resources: []string{"node"}, Names: []string{"web-*.team"},
	})))
	if err != nil || !resource.IsSecret(out.Secret) {
		t.Fatalf("%+v, %v", out, err)
	}
	text, err := json.Marshal(o.changes[len(o.changes)-1].Event)
	if err != nil || !strings.Contains(string(text), "web-*.team") || strings.Contains(string(text), out.Secret) || strings.Contains(string(text), resource.HashSecret(out.Secret)) {
		t.Errorf("%s, %v", text, err)
	}
}

// An event never says that the whole is there before it is, and a change whose event would lack it isn't made.
func TestWhatTheEventHasNoRoomForIsKeptBeforeTheChange(t *testing.T) {
	o := newOffice(t)
	c := o.as(t, "team")
	large := func(login string) resource.Resource {
		return fresh(of("role", "dev", "/team", withLogins(slices.Repeat([]string{login}, 4000)...)))
	}
	o.down = map[string]bool{"Keep": true}
	if _, err := o.desk.Create(t.Context(), c, large("ada")); !errors.Is(err, errDown) || len(o.changes) != 0 {
		t.Fatalf("%v, %d changes", err, len(o.changes))
	}
	o.down, o.kept = nil, nil
	if _, err := o.desk.Create(t.Context(), c, large("ada")); err != nil || len(o.kept) != 1 {
		t.Fatalf("%v, %d kept", err, len(o.kept))
	}
	after := o.shown(t)["after_sha256"]
	if after != audit.Sum(o.kept[0]) || !json.Valid([]byte(o.kept[0])) {
		t.Errorf("the event says %q", after)
	}
	if _, err := o.desk.Update(t.Context(), c, large("bob")); err != nil || len(o.kept) != 3 {
		t.Fatalf("%v, %d kept", err, len(o.kept))
	}
	data := o.shown(t)
	if sums := []string{audit.Sum(o.kept[1]), audit.Sum(o.kept[2])}; !slices.Contains(sums, data["before_sha256"]) || !slices.Contains(sums, data["after_sha256"]) || data["before_sha256"] != after {
		t.Errorf("the event says %q and %q, kept are %q", data["before_sha256"], data["after_sha256"], sums)
	}
}

// However large the resources and whatever is in them, the event is one that the ledger takes, and says of which text it holds
// the beginning.
func TestWhatIsTooLargeForAnEventIsCutAndItsSumIsThere(t *testing.T) {
	large := func(piece string, size int) *resource.Resource {
		r := of("role", "large", "/", &resource.RoleSpec{Allow: resource.RoleBlock{Logins: slices.Repeat([]string{piece}, size/len(piece))}})
		return &r
	}
	small := large("ada", 30)
	for name, c := range map[string]struct{ before, after *resource.Resource }{
		"both are small":        {small, small},
		"both are large":        {large("ada", 20_000), large("bob", 20_000)},
		"before is large":       {large("ada", 30_000), small},
		"after is large":        {small, large("ada", 30_000)},
		"one alone":             {nil, large("ada", 30_000)},
		"what JSON escapes":     {large(`<&>"\`, 12_000), large("\x01\u2028", 12_000)},
		"characters of 4 bytes": {large("😀", 12_000), large("é😀", 12_000)},
		"just about the room":   {large("ada", 4_000), large("bob", 4_200)},
	} {
		t.Run(name, func(t *testing.T) {
			e := audit.New(audit.ResourceUpdated, strings.NewReader(strings.Repeat("x", 16)), newOffice(t).Now)
			e.Cluster, e.Actor, e.Source = "c", "user/ada", "function/admin"
			e.Data = map[string]string{"uid": "usr_1", "certificate": "crt_1", "revision": "2"}
			kept, err := admin.Pictures(&e, c.before, c.after)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			cut := 0
			for name, r := range map[string]*resource.Resource{"before": c.before, "after": c.after} {
				got, there := e.Data[name]
				if there != (r != nil) {
					t.Errorf("%s is there: %v", name, there)
				}
				if r == nil {
					continue
				}
				metadata, err := json.Marshal(r.Metadata)
				spec, err2 := r.SpecJSON()
				if err != nil || err2 != nil {
					t.Fatal(err, err2)
				}
				whole := fmt.Sprintf(`{"metadata":%s,"spec":%s}`, metadata, spec)
				sum := ""
				if got != whole {
					cut++
					digest := sha256.Sum256([]byte(whole))
					sum = hex.EncodeToString(digest[:])
					if !slices.Contains(kept, whole) {
						t.Errorf("the whole of %s is not to be kept", name)
					}
				}
				if !strings.HasPrefix(whole, got) || !utf8.ValidString(got) || e.Data[name+"_sha256"] != sum {
					t.Errorf("%s: %d of %d bytes, sum %q, want %q", name, len(got), len(whole), e.Data[name+"_sha256"], sum)
				}
				if r == small && got != whole {
					t.Errorf("%s is small, and cut", name)
				}
			}
			b, err := json.Marshal(e)
			if err != nil || cut > 0 && len(b) < audit.MaxSize-200 {
				t.Errorf("%d bytes, though something was cut: %v", len(b), err)
			}
		})
	}
}
