package stack

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
)

// Modes of retention, as settings spell them. In governance, whoever has s3:BypassGovernanceRetention can end it; in
// compliance nobody can.
const (
	modeGovernance = "governance"
	modeCompliance = "compliance"
)

// maxRetention is S3's own bound, in days.
const maxRetention = 36500

// retention is how long a recording can't be deleted. The zero value is a bucket without Object Lock.
type retention struct {
	lock bool   // the bucket has Object Lock: what is in it can be put under a legal hold
	days int    // for which each new object is retained; 0 for none
	mode string // as the settings say it; "" for governance
}

// readDays reads the days. Zero is Object Lock without retention, for what has had one, or for legal holds alone.
func (r *retention) readDays(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > maxRetention || strconv.Itoa(n) != value {
		return fmt.Errorf("%q must be a whole number of days from 1 to %d, or 0 for Object Lock without retention", value, maxRetention)
	}
	r.lock, r.days = true, n
	return nil
}

func (r *retention) readMode(value string) error {
	if value != modeGovernance && value != modeCompliance {
		return fmt.Errorf("%q must be %s or %s", value, modeGovernance, modeCompliance)
	}
	r.mode = value
	return nil
}

// check refuses a mode of no retention.
func (r *retention) check() error {
	if r.mode != "" && r.days == 0 {
		return fmt.Errorf("setting %s: there is no retention that could have a mode; set %s to its days, or remove the mode", settingLockMode, settingRetention)
	}
	return nil
}

// String says the retention in one word: recordings/governance/365, or recordings/0 for Object Lock without one.
func (r *retention) String() string {
	if r.days == 0 {
		return "recordings/0"
	}
	return "recordings/" + cmp.Or(r.mode, modeGovernance) + "/" + strconv.Itoa(r.days)
}

// apply sets Object Lock by ObjectLockConfiguration alone, which CloudFormation updates without
// interruption. It must not set ObjectLockEnabled: in CloudFormation's schema that property can't be changed after the
// bucket was made, so it would replace a bucket that has recordings by an empty one. Once a bucket has Object Lock, it
// has it for good; that is why a deployment doesn't get it without asking for it.
func (r *retention) apply(bucket awss3.CfnBucket) {
	if !r.lock {
		return
	}
	lock := &awss3.CfnBucket_ObjectLockConfigurationProperty{ObjectLockEnabled: new("Enabled")}
	if r.days > 0 {
		mode := strings.ToUpper(cmp.Or(r.mode, modeGovernance))
		lock.Rule = &awss3.CfnBucket_ObjectLockRuleProperty{
			DefaultRetention: &awss3.CfnBucket_DefaultRetentionProperty{Mode: &mode, Days: new(float64(r.days))},
		}
	}
	bucket.SetObjectLockConfiguration(lock)
}
