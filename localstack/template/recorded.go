package template

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/stile-dev/stile/localstack/resource"
)

// recorded gives a resource without behaviour what templates ask of it: a stable id of the right form, and
// attributes. It is the provider of every type that the table calls recorded.
type recorded struct {
	account, region, partition string
	state                      *State
}

// NewRecorded returns the provider of the types that the table calls recorded; a [Deployer] has it by itself.
func NewRecorded(c Config) resource.Provider {
	return recorded{c.Account, c.Region, c.Partition, c.State}
}

// Types lists the recorded types.
func (p recorded) Types() (types []string) {
	for _, row := range table {
		if row.Treatment == Recorded {
			types = append(types, row.Type)
		}
	}
	return types
}

// prefixes of the ids of EC2's resources; every other recorded type is known by a name.
var prefixes = map[string]string{
	"AWS::EC2::InternetGateway":             "igw",
	"AWS::EC2::RouteTable":                  "rtb",
	"AWS::EC2::SecurityGroup":               "sg",
	"AWS::EC2::SecurityGroupIngress":        "sgr",
	"AWS::EC2::Subnet":                      "subnet",
	"AWS::EC2::SubnetRouteTableAssociation": "rtbassoc",
	"AWS::EC2::VPC":                         "vpc",
	"AWS::EC2::VPCEndpoint":                 "vpce",
}

// named are the properties that hold a resource's own name, by type.
var named = map[string]string{
	"AWS::Logs::LogGroup": "LogGroupName",
}

// PhysicalName is a name as CloudFormation would generate it: stack, logical id and twelve characters that
// are the same at each deployment of this stack.
func PhysicalName(r resource.Resource) string {
	sum := sha256.Sum256([]byte(r.StackID + "\x00" + r.Label()))
	return fmt.Sprintf("%s-%s-%s", r.Stack, r.LogicalID, strings.ToUpper(hex.EncodeToString(sum[:6])))
}

// Provision implements [resource.Provider].
func (p recorded) Provision(r resource.Resource) (resource.Outcome, error) {
	name := PhysicalName(r)
	sum := sha256.Sum256([]byte(r.StackID + "\x00" + r.Label()))
	if prefix, ok := prefixes[r.Type]; ok {
		name = prefix + "-" + hex.EncodeToString(sum[:])[:17]
	} else if own, ok := r.Properties[named[r.Type]].(string); ok {
		name = own
	}
	out := resource.Outcome{Ref: name, Attributes: map[string]any{"Id": name}}
	p.attributes(r, name, out.Attributes)
	if r.New() && p.state.taken(r.Type, out.Ref) {
		return resource.Outcome{}, fmt.Errorf("%s: %w", name, resource.ErrExists)
	}
	return out, nil
}

// Remove implements [resource.Provider]: what is only recorded is gone with its record.
func (recorded) Remove(resource.Resource) error { return nil }

func (p recorded) attributes(r resource.Resource, name string, to map[string]any) {
	arn := func(service, rest string) string {
		return fmt.Sprintf("arn:%s:%s:%s:%s:%s", p.partition, service, p.region, p.account, rest)
	}
	copied := func(names ...string) {
		for _, n := range names {
			if v, ok := r.Properties[n]; ok {
				to[n] = v
			}
		}
	}
	switch r.Type {
	case "AWS::EC2::VPC":
		copied("CidrBlock")
	case "AWS::EC2::Subnet":
		copied("AvailabilityZone")
	case "AWS::EC2::SecurityGroup":
		to["GroupId"] = name
	case "AWS::Logs::LogGroup":
		to["Arn"] = arn("logs", "log-group:"+name+":*")
	}
}
