package session_test

import (
	"crypto/rand"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/agent/decide"
	"github.com/stile-dev/stile/agent/session"
	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/policy"
	"github.com/stile-dev/stile/pkg/resource"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// TestSec_S69_WhoseRevocationMayHaveBeenMissedIsCut: sessions that may outlive their certificates go on while documents
// come, and while none come. When some come after more than twelve hours, those whose certificate has expired are cut, since
// a revocation of it may have come and ended meanwhile; one whose certificate is in force goes on.
func TestSec_S69_WhoseRevocationMayHaveBeenMissedIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		silence time.Duration
		cut     bool
	}{
		"for twelve hours":        {12 * time.Hour, false},
		"for more":                {12*time.Hour + time.Second, true},
		"for days":                {72 * time.Hour, true},
		"for as long as is usual": {time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, going := newWorld(), false
				target := identity.Target{Kind: "node", Name: "web-1"}
				cluster := tunneltest.New(t, resource.Role{
					Metadata: resource.Metadata{Name: "batch"},
					Spec: resource.RoleSpec{
						Options: resource.RoleOptions{DisconnectExpiredCert: &going},
						Allow:   resource.RoleBlock{Logins: []string{"ada"}, NodeLabels: resource.Labels{"*": {"*"}}},
					},
				})
				holder := cluster.Holder()
				self, _ := cluster.Host(map[string]string{"env": "dev"}, target)
				gate := decide.New(decide.Config{Documents: holder, Host: func() identity.Host { return self }})
				w.Register = session.New(session.Config{Gate: gate, Journal: w, Host: func() identity.Host { return self }, Cages: w})
				hear := func() {
					t.Helper()
					cluster.Lock()
					if err := holder.Accept(cluster.Documents()...); err != nil {
						t.Fatal(err)
					}
					w.Recheck()
					synctest.Wait()
				}
				var mu sync.Mutex
				cuts := map[string]*fault.Fault{}
				enter := func(name string, life time.Duration) {
					t.Helper()
					var s *session.Session
					a, err := w.Register.Admit(t.Context(), session.Request{
						User: identity.User{
							Cluster: cluster.ID, Certificate: identity.NewID("crt", rand.Reader, time.Now()), Name: name, UID: "usr_" + name,
							Roles: []string{"batch"}, Versions: cluster.Versions(), IssuedAt: time.Now(),
						},
						Expires: time.Now().Add(life), Hint: session.Hint{Target: target}, Use: policy.Login("ada"),
						Cut: func(f *fault.Fault) {
							mu.Lock()
							defer mu.Unlock()
							cuts[name] = f
							s.End(session.Result{})
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					s = open(t, a)
					if err := s.Start(nil, session.Show{}); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { s.End(session.Result{}); a.Close() })
				}
				enter("expired", time.Hour)
				enter("in-force", 100*time.Hour)
				for range 4 { // the certificate expires, and documents come
					<-time.After(time.Hour)
					hear()
				}
				<-time.After(c.silence)
				w.Recheck() // as when some other document comes
				synctest.Wait()
				if len(cuts) != 0 {
					t.Errorf("cut before anything was heard: %v", cuts)
				}
				hear()
				<-time.After(time.Second)
				f := cuts["expired"]
				if (f != nil) != c.cut || cuts["in-force"] != nil {
					t.Fatalf("cut: %v", cuts)
				}
				if ends := w.of(audit.SessionEnd); len(ends) != len(cuts) || c.cut && (ends[0].Actor != "user/expired" || ends[0].Reason != f.Message) {
					t.Errorf("%+v", ends)
				}
				if c.cut && (f.Code != fault.Expired || !strings.Contains(f.Message, "whether it was revoked is not known") || f.Hint == "") {
					t.Errorf("%s: %s (%s)", f.Code, f.Message, f.Hint)
				}
				enter("later", time.Hour)
				hear()
				if cuts["later"] != nil {
					t.Error("a session that began after the gap is cut for it")
				}
				if left := w.Users(); left != 3-len(cuts) {
					t.Errorf("%d accesses are open", left)
				}
			})
		})
	}
}
