package proof

import "strings"

// regions lists the Regions of each partition that have their own STS endpoint. It is a table and not a
// pattern: a name that someone sends never becomes part of a host name.
var regions = map[string]string{
	"aws": `af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2
		ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
		ca-central-1 ca-west-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2
		eu-west-3 il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-west-1 us-west-2`,
	"aws-cn":     "cn-north-1 cn-northwest-1",
	"aws-us-gov": "us-gov-east-1 us-gov-west-1",
}

type endpoint struct{ host, partition string }

var endpoints = func() map[string]endpoint {
	suffix := map[string]string{"aws": ".amazonaws.com", "aws-cn": ".amazonaws.com.cn", "aws-us-gov": ".amazonaws.com"}
	all := map[string]endpoint{}
	for partition, list := range regions {
		for region := range strings.FieldsSeq(list) {
			all[region] = endpoint{"sts." + region + suffix[partition], partition}
		}
	}
	return all
}()

// Host returns the STS host of a Region and the Region's partition; ok is false for a Region that isn't in the table.
func Host(region string) (host, partition string, ok bool) {
	e, ok := endpoints[region]
	return e.host, e.partition, ok
}
