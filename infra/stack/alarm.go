package stack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
)

// newAlarm declares the topic that people subscribe to, and what speaks on it: rules, which tell of changes that
// only an account's administrator can make (watch.go), and alarms on metrics (metric.go).
func newAlarm(s awscdk.Stack, set settings) {
	topic := awssns.NewCfnTopic(s, new("Alarms"), &awssns.CfnTopicProps{TopicName: new("stile-alarms"), DisplayName: new("Stile alarms")})
	accept(topic, accepted{"SNS3": "only EventBridge and CloudWatch may publish, and they do by TLS"})
	var rules []awsevents.CfnRule
	for _, w := range watches(set) {
		rules = append(rules, w.rule(s, topic, set.page(w.page)))
	}
	for _, a := range metricAlarms(rules) {
		a.alarm(s, topic.Ref(), set.page(a.page))
	}
	awssns.NewCfnTopicPolicy(s, new("AlarmsPolicy"), &awssns.CfnTopicPolicyProps{
		Topics: &[]*string{topic.Ref()}, PolicyDocument: document(mayPublish(topic)...),
	})
	export(s, exportAlarms, topic.Ref())
}

// mayPublish lets EventBridge and CloudWatch publish. The first takes no condition: "You can't use Condition blocks in
// Amazon SNS topic policies for EventBridge", says its user guide under resource-based policies, and with one nothing
// arrives. docs/threat-model.md says what that leaves open.
func mayPublish(topic awssns.CfnTopic) []statement {
	return []statement{
		{Sid: "Rules", Principal: service("events"), Actions: []string{"sns:Publish"}, Resources: []any{topic.Ref()}},
		{
			Sid: "Alarms", Principal: service("cloudwatch"), Actions: []string{"sns:Publish"}, Resources: []any{topic.Ref()},
			Condition: condition{
				"StringEquals": {"aws:SourceAccount": awscdk.Aws_ACCOUNT_ID()},
				"ArnLike":      {"aws:SourceArn": sub("arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*")},
			},
		},
	}
}

// ownRunbooks is where the runbooks of this project are read.
const ownRunbooks = "https://github.com/stile-dev/stile/blob/main/docs/runbooks"

// folderForm is a URL that stands in JSON, in a template of EventBridge and in a mail as it is.
var folderForm = regexp.MustCompile(`^https://[A-Za-z0-9][A-Za-z0-9.:-]*(/[A-Za-z0-9._~%+-]+)*$`)

// maxFolder leaves room in the description of a rule, which is at most 512 characters.
const maxFolder = 250

func checkRunbooks(url string) error {
	if len(url) > maxFolder || !folderForm.MatchString(url) {
		return fmt.Errorf("%q must be a URL as https://wiki.example.com/stile, of at most %d characters and without a slash at the end: "+
			"a page's name and .md follow it", url, maxFolder)
	}
	return nil
}

// page is the URL of a page in docs/runbooks, for whoever gets an alarm and has no copy of the repository.
func (s settings) page(name string) string {
	return cmp.Or(s.runbooks, ownRunbooks) + "/" + name + ".md"
}

// message is what a rule says: what happened, which page to read, and the event itself, which tells who did it.
func message(says, page string) string {
	head, err := json.Marshal(map[string]string{"alarm": "Stile: " + says, "page": page})
	if err != nil {
		panic(err) // strings in a map
	}
	return string(head[:len(head)-1]) + `,"event":<aws.events.event.json>}`
}
