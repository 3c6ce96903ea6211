package tally

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// record is what CloudTrail says of a request to KMS.
type record struct {
	Unclaimed

	Role   string // ARN of the role whose session made it; "" for whoever has none
	Failed bool   // nothing was signed
}

// sentAt is the attribute of a message that says when it came into the queue, in milliseconds.
const sentAt = string(types.MessageSystemAttributeNameSentTimestamp)

// unread reports whether the message was no record.
func (r record) unread() bool { return strings.HasPrefix(r.Request, unread) }

// unread is how the request of a message is called that is no record: the SHA-256 of the message follows.
const unread = "unread-"

var requestForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// read reads a message of the queue. Nobody can claim what is no record of a signature, so it is told too: it may be one in a form that
// isn't known here.
func read(m types.Message) record {
	var in struct {
		Source string `json:"source"`
		Detail struct {
			EventTime time.Time `json:"eventTime"`
			EventName string    `json:"eventName"`
			RequestID string    `json:"requestID"`
			ErrorCode string    `json:"errorCode"`
			Identity  struct {
				ARN     string `json:"arn"`
				Session struct {
					Issuer struct {
						ARN string `json:"arn"`
					} `json:"sessionIssuer"`
				} `json:"sessionContext"`
			} `json:"userIdentity"`
			Resources []struct {
				ARN string `json:"ARN"`
			} `json:"resources"`
		} `json:"detail"`
	}
	body := aws.ToString(m.Body)
	sent, _ := strconv.ParseInt(m.Attributes[sentAt], 10, 64)
	d := &in.Detail
	if err := json.Unmarshal([]byte(body), &in); err != nil || in.Source != "aws.kms" || d.EventName != "Sign" || d.EventTime.IsZero() || !requestForm.MatchString(d.RequestID) || strings.HasPrefix(d.RequestID, unread) {
		sum := sha256.Sum256([]byte(body))
		return record{Unclaimed: Unclaimed{Request: unread + hex.EncodeToString(sum[:]), At: time.UnixMilli(sent).UTC()}}
	}
	r := record{Unclaimed: Unclaimed{Request: d.RequestID, By: d.Identity.ARN, At: d.EventTime.UTC()}, Role: d.Identity.Session.Issuer.ARN, Failed: d.ErrorCode != ""}
	if len(d.Resources) > 0 {
		r.Key = d.Resources[0].ARN
	}
	return r
}
