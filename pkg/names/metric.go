package names

// What functions measure, as CloudWatch has it: a namespace, metrics and their one dimension.
const (
	Metrics              = "Stile"
	MetricFunction       = "Function"       // the dimension: which function measured
	MetricLoginSucceeded = "LoginSucceeded" // 1 for a synthetic login that was answered as it should be, else 0
	MetricLoginDuration  = "LoginDuration"  // milliseconds of one that was

	MetricRecordingsAbandoned = "RecordingsAbandoned" // recordings whose agents aren't heard of any more, since the last look

	MetricEvidenceUnproved = "EvidenceUnproved" // hours of checks of the evidence whose statements don't prove it, and checks that are late, in a run of sweep
	MetricLedgerGaps       = "LedgerGaps"       // gaps that were found among agents' audit events, since the last look

	MetricSignaturesUnclaimed  = "SignaturesUnclaimed"  // signatures that CloudTrail has and no function claims, since the last look
	MetricSignaturesUnrecorded = "SignaturesUnrecorded" // signatures that a function claims and CloudTrail's records lack, in the hours stated since the last look
	MetricLakeDiffers          = "LakeDiffers"          // events that the lake lacks though they were sent again, or that ledger and lake don't both have, since the last look

	MetricUploadsGranted = "UploadsGranted" // objects of recordings that agents were told how to put
	MetricUploadsMissing = "UploadsMissing" // objects that agents asked about after a PUT, and that S3 doesn't have or says nothing of
)

// Measured lists them. Each has one function that measures it, and is billed for itself.
var Measured = []string{MetricLoginSucceeded, MetricLoginDuration, MetricRecordingsAbandoned, MetricLedgerGaps, MetricEvidenceUnproved, MetricSignaturesUnclaimed, MetricSignaturesUnrecorded, MetricUploadsGranted, MetricUploadsMissing}
