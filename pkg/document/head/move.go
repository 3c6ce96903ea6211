package head

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/document"
	"github.com/stile-dev/stile/pkg/document/revoked"
	"github.com/stile-dev/stile/pkg/identity"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/table"
)

// Lease takes publish's lease until it expires, unless another owner has it at now: then it fails with
// [document.ErrHeld]. An owner may take it again.
func (s *Store) Lease(ctx context.Context, owner string, now, until time.Time) error {
	err := s.table.PutIf(ctx, table.Item{
		names.PK: table.String(keyLease.PK), names.SK: table.String(keyLease.SK),
		"holder": table.String(owner), "expires_ms": table.Int(until.UnixMilli()),
	}, "attribute_not_exists(pk) OR expires_ms <= :now OR holder = :owner",
		table.Item{":now": table.Int(now.UnixMilli()), ":owner": table.String(owner)})
	if table.Conflicts(err) {
		return document.ErrHeld
	}
	return err
}

// Release gives the lease back if the owner still holds it.
func (s *Store) Release(ctx context.Context, owner string) error {
	err := s.table.PutIf(ctx, table.Item{
		names.PK: table.String(keyLease.PK), names.SK: table.String(keyLease.SK),
		"holder": table.String(owner), "expires_ms": table.Int(0),
	}, "holder = :owner", table.Item{":owner": table.String(owner)})
	if table.Conflicts(err) {
		return nil
	}
	return err
}

// PutPolicy stores a policy document under the hash of its stored bytes and returns that hash.
func (s *Store) PutPolicy(ctx context.Context, doc document.Signed) (string, error) {
	body, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("writing policy: %w", err)
	}
	sha := digest(body)
	return sha, s.putHashed(ctx, policyKey(sha), body)
}

// PutList stores a list of what was revoked under the hash of its bytes and returns that hash.
func (s *Store) PutList(ctx context.Context, set revoked.Set) (string, error) {
	sha := digest(set.Bytes())
	return sha, s.putHashed(ctx, listKey(sha), set.Bytes())
}

// PutTrust stores a chain of trust documents under the version of its last. A version that is stored already is
// never replaced, since somebody may have read it: then it fails with [document.ErrTaken].
func (s *Store) PutTrust(ctx context.Context, v identity.Version, chain []document.Signed) error {
	body, err := json.Marshal(chain)
	if err != nil {
		return fmt.Errorf("writing trust: %w", err)
	}
	if err = s.put(ctx, trustKey(v), body); errors.Is(err, errConflict) {
		return document.ErrTaken
	}
	return err
}

// putHashed stores what is named by its hash: whatever has that name already are the same bytes, which every reader checks.
func (s *Store) putHashed(ctx context.Context, key string, body []byte) error {
	if err := s.put(ctx, key, body); !errors.Is(err, document.ErrTaken) {
		return err
	}
	return nil
}

// errConflict says that somebody was writing the same key just then, and may have failed.
var errConflict = errors.New("somebody else was storing it")

// put stores an object under a key that has none yet, the only way in which the bucket's policy lets anybody write. A key
// that is taken is [document.ErrTaken].
func (s *Store) put(ctx context.Context, key string, body []byte) error {
	_, err := s.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.bucket, Key: &key, Body: bytes.NewReader(body), ContentType: aws.String("application/json"), IfNoneMatch: aws.String("*"),
	})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "PreconditionFailed" {
		return document.ErrTaken
	} else if ok && api.ErrorCode() == "ConditionalRequestConflict" {
		err = errConflict
	}
	if err != nil {
		return fmt.Errorf("storing document %s: %w", key, err)
	}
	return nil
}

// Advance moves policy and revocations from one head to the next, together with the revocations document and those of its
// lists that changed, if the head is still where it was; else it is [document.ErrMoved].
func (s *Store) Advance(ctx context.Context, from, to Head, revocations document.Signed, lists map[string]document.Stored) error {
	body, err := json.Marshal(revocations)
	if err != nil {
		return fmt.Errorf("writing revocations: %w", err)
	}
	values := table.Item{
		":epoch": table.Int(to.Trust.Epoch), ":table": table.String(s.table.Name), ":input": table.Int(to.Input), ":orders": table.Int(to.Orders),
		":policy_epoch": table.Int(to.Policy.Epoch), ":policy": table.Int(to.Policy.Counter), ":sha": table.String(to.PolicySHA256),
		":revocations_epoch": table.Int(to.Revocations.Epoch), ":revocations": table.Int(to.Revocations.Counter),
	}
	condition := "epoch = :epoch AND attribute_not_exists(revocations_counter)"
	if from.Revocations != (identity.Version{}) { // counters go on from one epoch to the next, so they tell heads apart
		condition = "epoch = :epoch AND policy_counter = :was_policy AND revocations_counter = :was_revocations"
		values[":was_policy"], values[":was_revocations"] = table.Int(from.Policy.Counter), table.Int(from.Revocations.Counter)
	}
	ops := []table.Op{
		s.table.UpdateOp(keyHead,
			"SET policy_epoch = :policy_epoch, policy_counter = :policy, policy_sha256 = :sha, #input = :input, orders = :orders, "+
				"revocations_epoch = :revocations_epoch, revocations_counter = :revocations, written_to = :table",
			condition, values).Named("#input", "input"),
		s.table.PutOp(table.Item{
			names.PK: table.String(keyRevocations.PK), names.SK: table.String(keyRevocations.SK), "document": table.Bytes(body),
		}, "", nil),
	}
	for list, stored := range lists {
		key := keyList(list)
		ops = append(ops, s.table.PutOp(table.Item{
			names.PK: table.String(key.PK), names.SK: table.String(key.SK), "base": table.String(stored.Base),
			"change": table.Bytes(revoked.Diff(stored.From, stored.Set)),
		}, "", nil))
	}
	return moved(table.Transact(ctx, s.table.API, ops...))
}

// AdvanceTrust moves the trust version from one head to the next if it is still where it was; else it is
// [document.ErrMoved]. The other documents stay in the epoch that they are in.
func (s *Store) AdvanceTrust(ctx context.Context, from, to Head) error {
	values := table.Item{
		":epoch": table.Int(to.Trust.Epoch), ":trust": table.Int(to.Trust.Counter), ":table": table.String(s.table.Name),
		":policy_epoch": table.Int(from.Policy.Epoch), ":revocations_epoch": table.Int(from.Revocations.Epoch),
	}
	condition := "attribute_not_exists(trust_counter)"
	if from.Trust != (identity.Version{}) {
		condition = "epoch = :was_epoch AND trust_counter = :was AND " +
			"(attribute_not_exists(policy_epoch) OR policy_epoch = :policy_epoch) AND " +
			"(attribute_not_exists(revocations_epoch) OR revocations_epoch = :revocations_epoch)"
		values[":was_epoch"], values[":was"] = table.Int(from.Trust.Epoch), table.Int(from.Trust.Counter)
	}
	return moved(table.Transact(ctx, s.table.API, s.table.UpdateOp(keyHead,
		"SET epoch = :epoch, trust_counter = :trust, policy_epoch = :policy_epoch, revocations_epoch = :revocations_epoch, written_to = :table",
		condition, values)))
}

func moved(err error) error {
	if table.Conflicts(err) {
		return document.ErrMoved
	}
	return err
}
