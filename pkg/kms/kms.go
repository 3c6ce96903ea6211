// Package kms turns refusals of AWS KMS into faults. The packages below it use keys that cannot leave AWS KMS: signer
// signs, mac derives the keys of challenges, and a function contains only what its role may do.
//
// It calls nothing. Its entry point is [Refused].
package kms

import (
	"errors"

	"github.com/aws/smithy-go"

	"github.com/stile-dev/stile/pkg/fault"
)

// Refused says in a fault which key did not do what, and with which AWS error code: that is what an administrator needs.
func Refused(key, verb string, err error) error {
	code := "no answer"
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = api.ErrorCode()
	}
	hint := "ask an administrator to check the key's state, its key policy and the function's role"
	switch code {
	case "ThrottlingException", "LimitExceededException", "no answer", "KMSInternalException", "DependencyTimeoutException":
		return fault.Newf(fault.Unavailable, "try again in a few seconds", "the %s key did not %s: %s", key, verb, code).Because(err)
	}
	return fault.Newf(fault.Internal, hint, "the %s key did not %s: %s", key, verb, code).Because(err)
}
