package audit_test

import (
	"slices"
	"testing"

	"github.com/stile-dev/stile/pkg/audit"
	"github.com/stile-dev/stile/pkg/names"
)

// What has no column is not in SQL, and no error says so.
func TestEveryFieldOfAnEventIsAColumnOfTheLake(t *testing.T) {
	var fields, columns []string
	for _, f := range audit.Common {
		fields = append(fields, f.Name)
	}
	for _, c := range names.LakeColumns {
		columns = append(columns, c.Name)
	}
	if fields = append(fields, "writer", "receipt", "received"); !slices.Equal(columns, fields) {
		t.Errorf("columns %v, fields %v", columns, fields)
	}
}

func TestEachFunctionIsAWriterOfItsOwn(t *testing.T) {
	for source, want := range map[string]string{"function/admin": "function/admin", "proxy/prx_1": "proxy", "agent/agt_1": "agent", "": "", "agent": "agent"} {
		if got := audit.Writer(source); got != want {
			t.Errorf("%q is written by %q", source, got)
		}
	}
}
