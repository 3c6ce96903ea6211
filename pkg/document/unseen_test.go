package document_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/tunnel/tunneltest"
)

// TestSec_S69_AGapInWhichARevocationMayHaveEndedIsNoted: between documents that were taken, by the times that they state; not
// before the first, and not forgotten when documents come as usual again.
func TestSec_S69_AGapInWhichARevocationMayHaveEndedIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := tunneltest.New(t)
		holder := document.NewHolder(c.ID, "")
		hear := func() time.Time {
			t.Helper()
			c.Lock()
			if err := holder.Accept(c.Documents()...); err != nil {
				t.Fatal(err)
			}
			return holder.State().Revocations.IssuedAt
		}
		expect := func(want time.Time) {
			t.Helper()
			if got := holder.State().Unseen; !got.Equal(want) {
				t.Errorf("unseen until %s, want %s", got, want)
			}
		}
		<-time.After(48 * time.Hour)
		hear()
		expect(time.Time{})
		<-time.After(document.SurelyKept)
		hear()
		expect(time.Time{})
		<-time.After(document.SurelyKept + time.Second)
		expect(time.Time{})
		gap := hear()
		expect(gap)
		<-time.After(time.Minute)
		hear()
		expect(gap)
		<-time.After(13 * time.Hour)
		expect(gap)
		expect(hear())
	})
}
