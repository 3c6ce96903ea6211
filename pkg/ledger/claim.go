package ledger

import (
	"context"
	"time"

	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Claim is what a function says of its requests to KMS: by these it signed, and nobody else did.
type Claim struct {
	Function string   // its name; its role lets it claim for itself alone
	Of       string   // what was to be signed: a certificate's id, or a document's name
	Requests []string // ids of requests that made a signature
	Doubtful []string // ids of requests that failed and may have made one all the same
}

// keepClaim is how long a claim stays: longer than a record of CloudTrail can wait to be compared with it.
const keepClaim = 30 * 24 * time.Hour

// maxRequest is how long an id of a request is that can be kept. Those of AWS have 36 characters.
const maxRequest = 128

// ClaimPartition returns where a function's claims of an hour are.
func ClaimPartition(function string, at time.Time) string {
	return names.Claimed + "#" + function + "#" + at.UTC().Format(HourForm)
}

// HourForm is how keys name an hour.
const HourForm = "2006-01-02T15"

// Doubtful is the attribute of a claim that holds only if CloudTrail has a record of the request.
const Doubtful = "doubtful"

// ClaimOps are the operations that write a claim, for the transaction of what was signed. An answer that named no request leaves
// nothing to claim.
func (l *Ledger) ClaimOps(c Claim) (ops []table.Op) {
	now := l.now()
	for n, ids := range [][]string{c.Requests, c.Doubtful} {
		for _, id := range ids {
			if id == "" || len(id) > maxRequest {
				continue
			}
			item := table.Item{
				names.PK: table.String(ClaimPartition(c.Function, now)), names.SK: table.String(id), "of": table.String(c.Of),
				"at_ms": table.Int(now.UnixMilli()), names.Expires: table.Int(now.Add(keepClaim).Unix()),
			}
			if n == 1 {
				item[Doubtful] = table.Int(1)
			}
			ops = append(ops, l.table.PutOp(item, "", nil))
		}
	}
	return ops
}

// mostOps is how many items one transaction writes; DynamoDB takes 100.
const mostOps = 50

// Claim writes claims alone.
func (l *Ledger) Claim(ctx context.Context, claims ...Claim) error {
	var ops []table.Op
	for _, c := range claims {
		ops = append(ops, l.ClaimOps(c)...)
	}
	for len(ops) > 0 {
		n := min(len(ops), mostOps)
		if err := table.Transact(ctx, l.table.API, ops[:n]...); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}
