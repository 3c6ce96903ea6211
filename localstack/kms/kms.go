// Package kms is the local Key Management Service: P-256 signing keys and HMAC keys that stay inside, with
// aliases, key policies, states, and a log of every use such as CloudTrail keeps.
//
// It knows no signer of ours. Its entry point is [Open].
package kms

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stile-dev/stile/localstack/gate"
	"github.com/stile-dev/stile/localstack/iam"
)

// Config says where keys are kept and who decides about them.
type Config struct {
	Dir       string // kms.bolt, keys/ (one file a key, 0600) and cloudtrail.ndjson
	Authority *iam.Authority
	Logger    *slog.Logger     // default discards
	Now       func() time.Time // default time.Now
	OnCall    func(Event)      // told of every call once it is in the trail; nil tells nobody
}

// Service is the local KMS. It is safe for concurrent use.
type Service struct {
	config Config
	keys   *vault
	trail  *trail
}

// Open reads or creates the keys kept in c.Dir. Close it when done.
func Open(c Config) (*Service, error) {
	if c.Authority == nil {
		return nil, errors.New("opening kms: Config.Authority is missing")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	v, err := openVault(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening kms: %w", err)
	}
	t, err := openTrail(c.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening kms: %w", err), v.close())
	}
	return &Service{config: c, keys: v, trail: t}, nil
}

// Close releases the files.
func (s *Service) Close() error { return errors.Join(s.keys.close(), s.trail.close()) }

// Name is the signing name.
func (*Service) Name() string { return "kms" }

// request is one call on its way, and collects what the log will say.
type request struct {
	call  *gate.Call
	name  string         // operation
	key   *key           // once it is resolved
	alias string         // alias/… when the key was named by one
	param map[string]any // for the log
}

// operation carries out one kind of call.
type operation func(s *Service, r *request) (any, error)

var operations = map[string]operation{
	"Sign": sign, "Verify": verify, "GetPublicKey": getPublicKey, "GenerateMac": generateMac, "VerifyMac": verifyMac,
	"DescribeKey": describeKey, "CreateKey": createKey, "ScheduleKeyDeletion": scheduleKeyDeletion,
	"CancelKeyDeletion": cancelKeyDeletion, "EnableKey": enableKey, "DisableKey": disableKey,
	"CreateAlias": createAlias, "DeleteAlias": deleteAlias, "ListAliases": listAliases,
}

// Operations lists what the service answers.
func (*Service) Operations() []string { return slices.Sorted(maps.Keys(operations)) }

// ServeAWS answers one call and logs it, also when it is refused.
func (s *Service) ServeAWS(w http.ResponseWriter, c *gate.Call) {
	service, name, _ := strings.Cut(c.HTTP.Header.Get("X-Amz-Target"), ".")
	op, ok := operations[name]
	if service != "TrentService" || !ok {
		gate.WriteError(w, c, gate.JSON11, &gate.Error{Code: "UnknownOperationException", Message: "the local KMS has no operation " + name})
		return
	}
	r := &request{call: c, name: name, param: map[string]any{}}
	out, err := op(s, r)
	told := s.event(r, err)
	if logged := s.trail.record(told); logged != nil {
		out, err = nil, logged // a use that leaves no trace must not happen
	} else if s.config.OnCall != nil {
		s.config.OnCall(told)
	}
	if err != nil {
		gate.WriteError(w, c, gate.JSON11, err)
		return
	}
	gate.WriteJSON(w, c, gate.JSON11, out)
}

func fail(code, format string, args ...any) error {
	return &gate.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// read decodes the call's body; members that are not understood are refused rather than ignored.
func (r *request) read(into any) error {
	d := json.NewDecoder(bytes.NewReader(r.call.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if strings.Contains(err.Error(), "unknown field") {
			return fail("ValidationException", "%s: %v is not supported here", r.name, err)
		}
		return fail("SerializationException", "the request is not well formed: %v", err)
	}
	return nil
}

// find resolves a key by id, ARN, alias or alias ARN.
func (s *Service) find(r *request, id string) (*key, error) {
	if id == "" {
		return nil, fail("ValidationException", "1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null")
	}
	name := id
	if strings.HasPrefix(id, "arn:") {
		prefix := s.arn("")
		if !strings.HasPrefix(id, prefix) {
			return nil, fail("NotFoundException", "Invalid arn %s", id)
		}
		name = strings.TrimPrefix(id, prefix)
		if !strings.HasPrefix(name, "alias/") && !strings.HasPrefix(name, "key/") {
			return nil, fail("NotFoundException", "Invalid arn %s", id)
		}
		name = strings.TrimPrefix(name, "key/")
	}
	if strings.HasPrefix(name, "alias/") {
		r.alias = name
		target, ok := s.keys.alias(name)
		if !ok {
			return nil, fail("NotFoundException", "Alias %s is not found.", s.arn(name))
		}
		name = target
	}
	k, ok := s.keys.get(name, s.config.Now())
	if !ok {
		return nil, fail("NotFoundException", "Key '%s' does not exist", s.arn("key/"+name))
	}
	r.key = k
	return k, nil
}

// findKey is find for operations that take no alias.
func (s *Service) findKey(r *request, id string) (*key, error) {
	if strings.HasPrefix(id, "alias/") || strings.Contains(id, ":alias/") {
		return nil, fail("ValidationException", "%s takes a key id or key ARN, not an alias", r.name)
	}
	return s.find(r, id)
}

// arn is the ARN of "key/<id>" or "alias/<name>".
func (s *Service) arn(rest string) string {
	a := s.config.Authority
	return "arn:" + a.Partition() + ":kms:" + a.Region() + ":" + a.Account() + ":" + rest
}

func (s *Service) keyARN(k *key) string { return s.arn("key/" + k.ID) }

// authorize asks for the action on the key: the key policy must allow it. More are the operation's own
// condition keys.
func (s *Service) authorize(r *request, k *key, more map[string]string) error {
	context := s.keyContext(k)
	if r.alias != "" {
		context["kms:RequestAlias"] = []string{r.alias}
	}
	for name, v := range more {
		context[name] = []string{v}
		r.param[name] = v
	}
	policy, err := iam.Parse("key policy of "+k.ID, iam.ResourceShape, k.Policy)
	if err != nil {
		return err
	}
	return r.call.Authorize(iam.Query{
		Action: "kms:" + r.name, Resource: s.keyARN(k), Context: context,
		ResourcePolicies: []*iam.Policy{policy}, Mode: iam.KeyPolicy,
	})
}

func (s *Service) keyContext(k *key) map[string][]string {
	return map[string][]string{"kms:ResourceAliases": s.keys.aliasesOf(k.ID)}
}

// usable refuses keys whose state forbids their use.
func (s *Service) usable(k *key) error {
	switch k.State {
	case enabled:
		return nil
	case disabled:
		return fail("DisabledException", "%s is disabled.", s.keyARN(k))
	default:
		return fail("KMSInvalidStateException", "%s is pending deletion.", s.keyARN(k))
	}
}
