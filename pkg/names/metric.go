package names

// What functions measure, as CloudWatch has it: a namespace, metrics and their one dimension.
const (
	Metrics              = "Stile"
	MetricFunction       = "Function"       // the dimension: which function measured
	MetricLoginSucceeded = "LoginSucceeded" // 1 for a synthetic login that was answered as it should be, else 0
	MetricLoginDuration  = "LoginDuration"  // milliseconds of one that was

	MetricRecordingsAbandoned = "RecordingsAbandoned" // recordings whose agents aren't heard of any more, since the last look
)
