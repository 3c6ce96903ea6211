package kms

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stile-dev/stile/localstack/iam"
)

type createInput struct {
	KeySpec     string
	KeyUsage    string
	Description string
	Policy      string
	Origin      string
	MultiRegion bool
	Tags        []struct{ TagKey, TagValue string }

	CustomerMasterKeySpec          string
	BypassPolicyLockoutSafetyCheck bool
}

func createKey(s *Service, r *request) (any, error) {
	var in createInput
	if err := r.read(&in); err != nil {
		return nil, err
	}
	if in.KeySpec == "" {
		in.KeySpec = in.CustomerMasterKeySpec
	}
	k, err := s.draft(in.KeySpec, in.KeyUsage)
	if err != nil {
		return nil, err
	}
	if in.MultiRegion || in.Origin != "" && in.Origin != "AWS_KMS" {
		return nil, fail("UnsupportedOperationException", "the local KMS makes single-Region keys of origin AWS_KMS only")
	}
	k.Description, k.Policy = in.Description, json.RawMessage(in.Policy)
	actions := []string{"kms:CreateKey"}
	for _, t := range in.Tags {
		k.Tags[t.TagKey] = t.TagValue
		actions = []string{"kms:CreateKey", "kms:TagResource"}
	}
	for _, action := range actions {
		if err := r.call.Authorize(iam.Query{Action: action, Resource: "*"}); err != nil {
			return nil, err
		}
	}
	if err := s.checkPolicy(r, k, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	if err := s.make(k); err != nil {
		return nil, err
	}
	r.key = k
	return map[string]any{"KeyMetadata": s.metadata(k)}, nil
}

// draft is a key without policy and material; its spec and usage fit each other.
func (s *Service) draft(spec, usage string) (*key, error) {
	want, ok := usageOf[spec]
	if !ok {
		if spec == "" {
			spec = "SYMMETRIC_DEFAULT"
		}
		return nil, fail("UnsupportedOperationException", "the local KMS makes keys of spec %s and %s, not %s", specP256, specHMAC, spec)
	}
	if usage == "" {
		return nil, fail("ValidationException", "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	}
	if usage != want {
		return nil, fail("ValidationException", "KeyUsage %s is not compatible with KeySpec %s", usage, spec)
	}
	return &key{ID: newUUID(), Spec: spec, Usage: usage, State: enabled, Tags: map[string]string{}, Created: s.config.Now().UTC()}, nil
}

// defaultPolicy lets the account's identity policies decide, as KMS's own default does.
func (s *Service) defaultPolicy() json.RawMessage {
	a := s.config.Authority
	return json.RawMessage(`{"Version":"2012-10-17","Id":"key-default-1","Statement":[{"Sid":"Enable IAM User Permissions","Effect":"Allow",` +
		`"Principal":{"AWS":"arn:` + a.Partition() + `:iam::` + a.Account() + `:root"},"Action":"kms:*","Resource":"*"}]}`)
}

// checkPolicy reads the key's policy, fills in the default, and refuses one by which the caller locks
// itself out (r is nil when CloudFormation is the caller).
func (s *Service) checkPolicy(r *request, k *key, bypass bool) error {
	if len(k.Policy) == 0 {
		k.Policy = s.defaultPolicy()
	}
	k.Declared = k.Policy
	policy, err := iam.Parse("key policy of "+k.ID, iam.ResourceShape, k.Policy)
	if err == nil {
		k.Policy, err = s.config.Authority.Pin(policy, k.Policy)
	}
	if err != nil {
		return fail("MalformedPolicyDocumentException", "%v", err)
	}
	if r == nil || bypass {
		return nil
	}
	err = r.call.Authorize(iam.Query{
		Action: "kms:PutKeyPolicy", Resource: s.keyARN(k), Context: s.keyContext(k),
		ResourcePolicies: []*iam.Policy{policy}, Mode: iam.KeyPolicy,
	})
	if err != nil {
		return fail("MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// make gives the key its material and keeps it.
func (s *Service) make(k *key) error {
	if err := s.keys.generate(k); err != nil {
		return err
	}
	return s.keys.put(k)
}

// metadata is what DescribeKey returns.
func (s *Service) metadata(k *key) map[string]any {
	m := map[string]any{
		"AWSAccountId": s.config.Authority.Account(), "KeyId": k.ID, "Arn": s.keyARN(k), "CreationDate": seconds(k.Created),
		"Enabled": k.State == enabled, "Description": k.Description, "KeyUsage": k.Usage, "KeyState": k.State, "Origin": "AWS_KMS",
		"KeyManager": "CUSTOMER", "KeySpec": k.Spec, "CustomerMasterKeySpec": k.Spec, "MultiRegion": false,
	}
	if k.Usage == usageSig {
		m["SigningAlgorithms"] = []string{ecdsaSHA256}
	} else {
		m["MacAlgorithms"] = []string{hmacSHA256}
	}
	if k.State == pending {
		m["DeletionDate"] = seconds(k.Deletion)
	}
	return m
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

type keyInput struct {
	KeyID       string `json:"KeyId"`
	GrantTokens []string
}

// named reads a call that names a key and authorises it.
func named(s *Service, r *request, in any, id *string, find func(*request, string) (*key, error)) (*key, error) {
	if err := r.read(in); err != nil {
		return nil, err
	}
	k, err := find(r, *id)
	if err != nil {
		return nil, err
	}
	return k, s.authorize(r, k, nil)
}

func describeKey(s *Service, r *request) (any, error) {
	var in keyInput
	k, err := named(s, r, &in, &in.KeyID, s.find)
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyMetadata": s.metadata(k)}, nil
}

func scheduleKeyDeletion(s *Service, r *request) (any, error) {
	in := struct {
		KeyID               string `json:"KeyId"`
		PendingWindowInDays int
	}{PendingWindowInDays: 30}
	k, err := named(s, r, &in, &in.KeyID, s.findKey)
	if err != nil {
		return nil, err
	}
	if in.PendingWindowInDays < 7 || in.PendingWindowInDays > 30 {
		return nil, fail("ValidationException", "Value '%d' at 'pendingWindowInDays' failed to satisfy constraint: Member must have value from 7 to 30", in.PendingWindowInDays)
	}
	if k.State == pending {
		return nil, s.usable(k)
	}
	due := s.config.Now().UTC().Add(time.Duration(in.PendingWindowInDays) * 24 * time.Hour)
	k, err = s.keys.change(k.ID, func(k *key) { k.State, k.Deletion = pending, due })
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": s.keyARN(k), "DeletionDate": seconds(due), "KeyState": pending, "PendingWindowInDays": in.PendingWindowInDays}, nil
}

func cancelKeyDeletion(s *Service, r *request) (any, error) {
	var in keyInput
	k, err := named(s, r, &in, &in.KeyID, s.findKey)
	if err != nil {
		return nil, err
	}
	if k.State != pending {
		return nil, fail("KMSInvalidStateException", "%s is not pending deletion.", s.keyARN(k))
	}
	k, err = s.keys.change(k.ID, func(k *key) { k.State, k.Deletion = disabled, time.Time{} })
	if err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": s.keyARN(k)}, nil
}

func enableKey(s *Service, r *request) (any, error)  { return switchKey(s, r, enabled) }
func disableKey(s *Service, r *request) (any, error) { return switchKey(s, r, disabled) }

func switchKey(s *Service, r *request, state string) (any, error) {
	var in keyInput
	k, err := named(s, r, &in, &in.KeyID, s.findKey)
	if err != nil {
		return nil, err
	}
	if k.State == pending {
		return nil, s.usable(k)
	}
	_, err = s.keys.change(k.ID, func(k *key) { k.State = state })
	return struct{}{}, err
}

// newUUID is a key's id: a random UUID, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails; see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
