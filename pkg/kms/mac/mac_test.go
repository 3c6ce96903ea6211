package mac_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
	"github.com/stile-dev/stile/pkg/kms/mac"
	"github.com/stile-dev/stile/pkg/names"
	"github.com/stile-dev/stile/pkg/proof"
)

// vault is KMS with one key, which is its own ARN.
type vault struct {
	mu    sync.Mutex
	calls int
	asked []string // messages
	fail  error
	short bool
}

func (v *vault) GenerateMac(_ context.Context, in *awskms.GenerateMacInput, _ ...func(*awskms.Options)) (*awskms.GenerateMacOutput, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls++
	v.asked = append(v.asked, string(in.Message))
	if v.fail != nil {
		return nil, v.fail
	}
	if in.MacAlgorithm != types.MacAlgorithmSpecHmacSha256 {
		return nil, &smithy.GenericAPIError{Code: "InvalidKeyUsageException"}
	}
	h := hmac.New(sha256.New, []byte(*in.KeyId))
	h.Write(in.Message)
	sum := h.Sum(nil)
	if v.short {
		sum = nil
	}
	return &awskms.GenerateMacOutput{Mac: sum}, nil
}

// clock is a time that a test moves.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func begin(v *vault, purpose string) (*mac.Keys, *clock) {
	c := &clock{time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)}
	return keys(v, "arn", purpose, c), c
}

func keys(v *vault, key, purpose string, c *clock) *mac.Keys {
	return mac.New(mac.Config{KMS: v, Key: key, Purpose: purpose, Now: c.now})
}

func code(t *testing.T, k *mac.Keys, message string, issued time.Time) []byte {
	t.Helper()
	got, err := k.Generate(t.Context(), []byte(message), issued)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestACodeIsGoodForItsMessagePurposeKeyAndHourAlone(t *testing.T) {
	v := &vault{}
	front, c := begin(v, names.PurposeLogin)
	c.at = time.Date(2026, 11, 27, 9, 59, 30, 0, time.UTC)
	signer := keys(v, "arn", names.PurposeLogin, c)
	made := code(t, front, "m", c.at)
	for name, k := range map[string]struct {
		by      *mac.Keys
		message string
		mac     []byte
		issued  time.Time
	}{
		"another message":  {signer, "n", made, c.at},
		"another purpose":  {keys(v, "arn", names.PurposeJoin, c), "m", made, c.at},
		"another key":      {keys(v, "other", names.PurposeLogin, c), "m", made, c.at},
		"another hour":     {signer, "m", made, c.at.Add(time.Minute)},
		"no code":          {signer, "m", nil, c.at},
		"a part of a code": {signer, "m", made[:31], c.at},
		"zeros":            {signer, "m", make([]byte, 32), c.at},
	} {
		if err := k.by.Verify(t.Context(), []byte(k.message), k.mac, k.issued); !fault.Is(err, fault.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, issued := range map[string]time.Time{"as it was made": c.at, "in another zone": c.at.In(time.FixedZone("", 5400))} {
		if err := signer.Verify(t.Context(), []byte("m"), made, issued); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSec_S81_AThousandChallengesAreOneCallOfKMS, on each side, also for those who come at once.
func TestSec_S81_AThousandChallengesAreOneCallOfKMS(t *testing.T) {
	made, judged := &vault{}, &vault{}
	front, c := begin(made, names.PurposeJoin)
	signer, _ := begin(judged, names.PurposeJoin)
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			message := fmt.Append(nil, i)
			got, err := front.Generate(t.Context(), message, c.at)
			if err == nil {
				err = signer.Verify(t.Context(), message, got, c.at)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.calls != 1 || judged.calls != 1 {
		t.Errorf("%d calls to make and %d to judge a thousand challenges", made.calls, judged.calls)
	}
}

// TestSec_S81_ATimeOfIssueThatIsMadeUpCostsNoCall: at a change of the hour two keys are enough, whatever a challenge says.
func TestSec_S81_ATimeOfIssueThatIsMadeUpCostsNoCall(t *testing.T) {
	v := &vault{}
	k, c := begin(v, names.PurposeJoin)
	c.at = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	for range 3 {
		for minutes := -600; minutes <= 600; minutes++ {
			issued := c.at.Add(time.Duration(minutes) * time.Minute)
			err := k.Verify(t.Context(), []byte("m"), make([]byte, 32), issued)
			if want := minutes >= -5 && minutes <= 5; want != fault.Is(err, fault.Unauthenticated) || want == fault.Is(err, fault.Expired) {
				t.Fatalf("%d minutes away: %v", minutes, err)
			}
		}
	}
	if v.calls != 2 {
		t.Errorf("%d calls: %q", v.calls, v.asked)
	}
}

func TestAChallengeIsGoodUntilItExpiresWhereTheHourChanges(t *testing.T) {
	v := &vault{}
	k, c := begin(v, names.PurposeJoin)
	c.at = time.Date(2026, 11, 27, 9, 59, 59, 0, time.UTC)
	issued := c.at
	made := code(t, k, "m", issued)
	c.at = c.at.Add(proof.ChallengeLife)
	if code(t, k, "n", c.at) == nil || v.calls != 2 {
		t.Fatalf("%d calls", v.calls)
	}
	if err := k.Verify(t.Context(), []byte("m"), made, issued); err != nil || v.calls != 2 {
		t.Errorf("%v after %d calls", err, v.calls)
	}
	// An hour's key is gone two hours later: it is asked for when a clock goes back.
	c.at = c.at.Add(2 * mac.Period)
	code(t, k, "m", c.at)
	c.at = issued
	if again := code(t, k, "m", issued); v.calls != 4 || !bytes.Equal(again, made) {
		t.Errorf("%d calls", v.calls)
	}
}

func TestSec_S81_WithoutItsKeyNothingIsMadeOrJudgedAndKMSIsAskedOnceASecond(t *testing.T) {
	for name, k := range map[string]struct {
		vault *vault
		code  fault.Code
	}{
		"denied":         {&vault{fail: &smithy.GenericAPIError{Code: "AccessDeniedException"}}, fault.Internal},
		"throttled":      {&vault{fail: &smithy.GenericAPIError{Code: "ThrottlingException"}}, fault.Unavailable},
		"not 32 bytes":   {&vault{short: true}, fault.Internal},
		"another's spec": {&vault{fail: &types.InvalidKeyUsageException{}}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			v := k.vault
			keys, c := begin(v, names.PurposeLogin)
			empty := hmac.New(sha256.New, nil).Sum(nil)
			for range 100 {
				if got, err := keys.Generate(t.Context(), nil, c.at); !fault.Is(err, k.code) || got != nil {
					t.Fatalf("%x, %v", got, err)
				}
				if err := keys.Verify(t.Context(), nil, empty, c.at); !fault.Is(err, k.code) {
					t.Fatal(err)
				}
			}
			if v.calls != 1 {
				t.Errorf("%d calls in a second", v.calls)
			}
			c.at = c.at.Add(time.Second)
			v.fail, v.short = nil, false
			if code(t, keys, "m", c.at); v.calls != 2 {
				t.Errorf("%d calls", v.calls)
			}
		})
	}
}

func TestWhoGivesUpTakesNobodysTurn(t *testing.T) {
	v := &vault{fail: context.Canceled}
	k, c := begin(v, names.PurposeLogin)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Generate(gone, []byte("m"), c.at); !fault.Is(err, fault.Unavailable) {
		t.Errorf("got %v", err)
	}
	v.fail = nil
	code(t, k, "m", c.at)
}
